"""Inference: detections and classes of pictures and video, tracks, generated text."""
