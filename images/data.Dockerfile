# The image of resolve, ingest, preprocess and register: no torch.
# `make images` builds it under the name that compiled pipelines use. By hand, from the top of the tree:
#     docker build -f images/data.Dockerfile -t NAME .
# With --build-arg LOCK=images/data-ray.lock it also works on the Ray cluster that RAY_ADDRESS names.
ARG BASE=docker.io/library/python:3.11-slim

# What pip needs to know stays in this stage, which is not part of the image: the arguments, and the certificates that
# lie in images/certificates.pem, if any.
FROM ${BASE} AS packages
ARG LOCK=images/data.lock
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_DEFAULT_TIMEOUT
WORKDIR /build
COPY ${LOCK} ./packages.lock
COPY images/build.lock images/certificates.pe[m] ./
# build.lock has what turns a package that is published as source alone into a wheel. 315532800 is the first second of
# 1980, the earliest that a wheel can hold: files of one lock are the same files whenever they are installed. Of no use to
# a step are the tests that packages bring, in the data image 46 MB, Arrow's headers and jieba's model for PaddlePaddle,
# 19 MB, and of Amazon's services all but S3 and those that give credentials, 19 MB.
RUN export SOURCE_DATE_EPOCH=315532800 PIP_USE_PEP517=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    && if [ -f certificates.pem ]; then export PIP_CERT=/build/certificates.pem; fi \
    && locked="--no-cache-dir --no-compile --no-deps --require-hashes" \
    && python3 -m venv --without-pip /opt/modelmill/venv \
    && python3 -m pip install ${locked} --target backend --requirement build.lock \
    && PYTHONPATH=/build/backend python3 -m pip --python /opt/modelmill/venv/bin/python3 install ${locked} \
        --ignore-installed --no-build-isolation --requirement packages.lock \
    && find /opt/modelmill -type d '(' -name __pycache__ -o -name tests -o -path '*/pyarrow/include' \
        -o -path '*/jieba/lac_small' ')' -prune -exec rm -rf {} + \
    && find /opt/modelmill/venv/lib/*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name 'sso*' ! -name signin -exec rm -rf {} + \
    && find /opt/modelmill -exec touch --no-dereference --date=@315532800 {} +

FROM ${BASE} AS code
WORKDIR /opt/modelmill
COPY modelmill ./modelmill
COPY components ./components
# Whoever built it may have a umask under which the image's user could not read it.
RUN mkdir packages && chmod -R u=rwX,go=rX . && find . -exec touch --no-dereference --date=@315532800 {} +

# A step's user cannot write bytecode, and without it each step would compile what it loads, for seconds. It is kept for
# what steps load; all of it would be twice as much.
FROM ${BASE} AS bytecode
COPY --from=packages /opt/modelmill/venv /opt/modelmill/venv
COPY --from=code /opt/modelmill /opt/modelmill
ENV PATH=/opt/modelmill/venv/bin:${PATH} PYTHONPATH=/opt/modelmill PYTHONHASHSEED=0 HOME=/tmp
RUN MODELMILL_IMAGE=data PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=/opt/modelmill/bytecode python3 -m modelmill.health --imports \
    && find /opt/modelmill/bytecode -exec touch --no-dereference --date=@315532800 {} +

FROM ${BASE}
COPY --from=packages /opt/modelmill/venv /opt/modelmill/venv
COPY --from=code /opt/modelmill /opt/modelmill
COPY --from=bytecode /opt/modelmill/bytecode /opt/modelmill/bytecode
# Data of packages (package://) that a runner shares with a step lie under /opt/modelmill/packages.
ENV PATH=/opt/modelmill/venv/bin:${PATH} PYTHONPATH=/opt/modelmill:/opt/modelmill/packages PYTHONUNBUFFERED=1 HOME=/tmp \
    PYTHONPYCACHEPREFIX=/opt/modelmill/bytecode
USER 65532:65532
WORKDIR /tmp
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s CMD ["python3", "-m", "modelmill.health"]
ARG BASE
ARG VERSION
ARG COMMIT
ARG CREATED
ENV MODELMILL_IMAGE=data MODELMILL_COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="modelmill-data" \
      org.opencontainers.image.description="modelmill's steps without torch: resolve, ingest, preprocess, register" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE}"
