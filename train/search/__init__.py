"""What a sweep varies, and its trials."""
