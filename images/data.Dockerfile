# The image of resolve, ingest, preprocess and register: no torch.
# Build from the top of the tree: docker build -f images/data.Dockerfile -t NAME .
# `python -c "from modelmill.images import image; print(image('data'))"` prints the NAME that compiled pipelines use.
ARG BASE=docker.io/library/python:3.11-slim
FROM ${BASE}
WORKDIR /opt/modelmill
COPY images/data.lock ./
RUN python3 -m pip install --no-cache-dir --no-compile --no-deps --require-hashes --requirement data.lock
COPY modelmill ./modelmill
COPY components ./components
ENV PYTHONPATH=/opt/modelmill PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
