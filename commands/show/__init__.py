"""What commands print: tables, summaries, remarks and progress."""
