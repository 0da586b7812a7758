"""What a line has done: kept, summed up, checked by hand."""
