"""What a training predicts of a sample: one file for each kind of answer."""
