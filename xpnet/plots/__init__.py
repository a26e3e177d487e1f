"""Pictures of training and of predictions, drawn with matplotlib."""
