"""Simple models on what a level's maps average to: fitted, scored, and compared between stores."""
