"""What a reader should know before believing a number: every check, with what it found."""
