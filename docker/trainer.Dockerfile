# Trains adapters. From the repository's root:
#   docker build -f docker/trainer.Dockerfile --build-arg TORCH_VARIANT=cpu -t bora-trainer .
# docs/containers.md says how it is run. BASE: Debian 12, whose Python is 3.11.
ARG BASE=docker.io/library/debian:12.12-slim

FROM ${BASE} AS build
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/bora/trainer-py
# cuda: what pip's index gives under the plain version; cpu, cu130, ...: that local version, from PyTorch's own index
ARG TORCH_VARIANT=cpu
ARG TORCH_VERSION=2.13.0
# where pip looks, as its own variables say it; PyTorch's index for cpu goes into PIP_EXTRA_INDEX_URL
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_FIND_LINKS=
ARG PIP_CERT=
COPY trainer-py/requirements.lock ./
# pip's cache stays in this stage, so that it may be lent from outside
RUN for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_CERT; do \
    eval "[ -n \"\$$name\" ]" || unset "$name"; done \
  && case "$TORCH_VARIANT" in cuda) suffix= ;; *) suffix="+$TORCH_VARIANT" ;; esac \
  && python3 -m venv .venv \
  && .venv/bin/pip install --disable-pip-version-check --progress-bar=off "torch==$TORCH_VERSION$suffix" \
  && .venv/bin/pip install --disable-pip-version-check --progress-bar=off \
    --no-deps --require-hashes -r requirements.lock
# after the wheels, so that a change of ours installs nothing anew
COPY trainer-py/src ./src
RUN echo ../../../../src > .venv/lib/python3.11/site-packages/bora-trainer.pth \
  && .venv/bin/python -m compileall -q src

FROM ${BASE} AS runtime
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates python3 tini \
  && rm -rf /var/lib/apt/lists/* \
  && groupadd --gid 10001 bora && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin bora \
  && install -d -o 10001 -g 10001 /models /data /runs /cache

FROM build AS sbom
COPY --from=runtime /var/lib/dpkg/status /tmp/dpkg-status
COPY docker/sbom.py /tmp/
RUN python3 /tmp/sbom.py --name bora-trainer --dpkg-status /tmp/dpkg-status \
    --site-packages .venv/lib/python3.11/site-packages > /tmp/sbom.cdx.json

FROM runtime
COPY --from=build /opt/bora /opt/bora
COPY --from=sbom /tmp/sbom.cdx.json /usr/share/bora/
# Only these are written to: runs and checkpoints, converted models, and what goes with the container.
ENV HOME=/tmp BORA_CACHE=/cache PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
  PATH=/opt/bora/trainer-py/.venv/bin:/usr/bin:/bin
VOLUME ["/models", "/data", "/runs", "/cache"]
USER 10001:10001
EXPOSE 50051 50052
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
  CMD ["python", "-m", "bora_trainer.healthcheck", "--ready-file", "/tmp/ready.json"]
ENTRYPOINT ["tini", "--", "python", "-m", "bora_trainer", \
  "--run-root", "/runs", "--data-root", "/data", "--model-root", "/models", "--ready-file", "/tmp/ready.json"]
CMD ["--host", "0.0.0.0", "--port", "50051", "--events-port", "50052", \
  "--token-file", "/run/secrets/token.sha256", "--tls-client-ca", "/run/secrets/ca.pem", \
  "--tls-certificate", "/run/secrets/trainer.pem", "--tls-key", "/run/secrets/trainer-key.pem"]
