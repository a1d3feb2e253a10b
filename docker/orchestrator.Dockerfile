# The control plane: the `bora` command line and the web page. From the repository's root:
#   docker build -f docker/orchestrator.Dockerfile -t bora-orchestrator .
# BASE: Node 20.19+ or 22.12+ on Debian 12.
ARG BASE=docker.io/library/node:22.20.0-bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates g++ git make python3 \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/bora
ENV NX_DAEMON=false NX_TUI=false CI=true
ARG NODE_EXTRA_CA_CERTS=
COPY package.json package-lock.json .npmrc nx.json tsconfig.base.json tsconfig.json ./
COPY packages ./packages
COPY proto ./proto
COPY test/package.json ./test/
# Add-ons that bring no binary are compiled with the headers beside this Node: nothing is downloaded for them.
RUN npm_config_nodedir="$(dirname "$(dirname "$(command -v node)")")" npm ci --no-audit --no-fund
RUN npx nx run-many -t build \
  && npm prune --omit=dev --no-audit --no-fund \
  && find packages -path '*/node_modules' -prune -o \( -name '*.ts' ! -name '*.d.ts' -o -name '*.tsbuildinfo' \) -type f -exec rm {} +

FROM ${BASE} AS runtime
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates tini \
  && rm -rf /var/lib/apt/lists/* \
  && groupadd --gid 10001 bora && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin bora \
  && install -d -o 10001 -g 10001 /runs /data

FROM build AS sbom
COPY --from=runtime /var/lib/dpkg/status /tmp/dpkg-status
COPY docker/sbom.py /tmp/
# test/ is not kept
RUN rm -rf test && python3 /tmp/sbom.py --name bora-orchestrator --dpkg-status /tmp/dpkg-status \
    --npm . --node "$(node --version)" > /tmp/sbom.cdx.json

FROM runtime
COPY --from=build /opt/bora/node_modules /opt/bora/node_modules
COPY --from=build /opt/bora/packages /opt/bora/packages
COPY --from=build /opt/bora/package.json /opt/bora/
COPY --from=sbom /tmp/sbom.cdx.json /usr/share/bora/
COPY examples /opt/bora/examples
ENV HOME=/tmp NODE_ENV=production BORA_TRAINERS=/run/secrets/trainers.yaml
WORKDIR /data
VOLUME ["/runs", "/data"]
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "node", "/opt/bora/packages/orchestrator/bin/bora.js"]
CMD ["--help"]
