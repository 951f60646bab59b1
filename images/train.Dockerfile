# The image of pretrain, finetune and evaluate, whose commands a pipeline names. Left to itself it serves the model that
# MODELMILL_MODEL names: docker run -p 5000:5000 -e MODELMILL_MODEL=models/<address> -e MODELMILL_STORE NAME
# Build as the data image; the lock is an argument, so that one with a CPU build of torch makes a CPU image.
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
EXPOSE 5000
# No ENTRYPOINT: docker would put it before the steps' own commands.
CMD ["python3", "-m", "modelmill.models.server", "--host", "0.0.0.0"]
