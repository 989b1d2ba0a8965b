"""What is in a trace, counted: in one pass over the columns that are needed, many events at a time."""
