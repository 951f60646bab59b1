# The image of pretrain, finetune and evaluate. Build as the data image; the lock is an argument, so that one with a CPU
# build of torch makes a CPU image.
ARG BASE=docker.io/library/python:3.11-slim
FROM ${BASE}
ARG LOCK=images/train.lock
WORKDIR /opt/modelmill
COPY ${LOCK} ./train.lock
RUN python3 -m pip install --no-cache-dir --no-compile --no-deps --require-hashes --requirement train.lock
COPY modelmill ./modelmill
COPY components ./components
ENV PYTHONPATH=/opt/modelmill PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
