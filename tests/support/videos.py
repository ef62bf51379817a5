"""Small videos: written for a test, and read back."""

import cv2
import numpy as np

from pydarknet.inference.video.capture import Capture


def make_video(path, frames=12):
    """A motion JPEG of 64 x 48 pixels whose frames get lighter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 60 + number % 100, np.uint8))
    writer.release()


def frames_of(path):
    """All frames of a video file, as `Capture` reads them."""
    capture, frames = Capture(str(path)), []
    while (frame := capture.read()) is not None:
        frames.append(frame)
    capture.close()
    return frames
