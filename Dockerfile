# A small image that runs pydarknet, made from the wheel with compiled kernels:
#
#     make wheel
#     docker build -t pydarknet .
#     docker run --rm -v "$PWD:/work" pydarknet detect yolov3-tiny.cfg yolov3-tiny.weights dog.jpg
#
# Without arguments it finds the toys in the bundled picture:
#
#     docker run --rm pydarknet
FROM python:3.12-slim

COPY dist/*.whl /tmp/
# Headless OpenCV needs none of the libraries of a desktop; the wheel asks for the other one, hence --no-deps.
RUN pip install --no-cache-dir numpy numba click opencv-python-headless \
    && pip install --no-cache-dir --no-deps /tmp/*.whl \
    && rm /tmp/*.whl \
    && useradd --create-home --uid 1000 darknet \
    && mkdir /work && chown darknet /work

USER darknet
WORKDIR /work
ENTRYPOINT ["pydarknet"]
CMD ["detector", "test", "toys.data", "toys.cfg", "toys.weights", "sample.jpg", "-thresh", ".3", "--out-dir", "/tmp"]
