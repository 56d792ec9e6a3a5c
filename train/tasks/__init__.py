"""What is trained: splits, folds, fractions, members."""
