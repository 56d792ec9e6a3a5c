"""Sources, preprocessing, encoders, and the pipeline that fills a store."""
