"""Detection in video: capture, pipeline, output, MJPEG server."""
