"""From pictures to detections, classes and text."""
