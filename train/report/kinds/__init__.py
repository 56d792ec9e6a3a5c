"""What a report says of each kind of answer: its headline, figures, tables, checks and examples."""
