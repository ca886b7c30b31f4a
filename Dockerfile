# A daemon in a container. Builds from a checkout alone: docker build -t chinwag .
#
#   docker run -d --network host -v chinwag:/var/lib/chinwag --name ada chinwag --name ada
#   docker exec ada chinwag init home
#
# Three of them that form an overlay by themselves: compose.yaml.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin chinwagd --bin chinwag

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="chinwag" \
      org.opencontainers.image.description="A gossip-based peer-to-peer overlay daemon" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# A user of its own: the daemon needs no privilege, and its homes are closed to everybody else. A volume that is new
# takes the owner and the mode of the directory that it covers.
RUN useradd --system --uid 10001 --no-create-home --home-dir /var/lib/chinwag chinwag \
    && install -d -o chinwag -g chinwag -m 0700 /var/lib/chinwag /run/chinwag /invite
COPY --from=build /src/target/release/chinwagd /src/target/release/chinwag /usr/local/bin/
USER chinwag
ENV CHINWAG_DATA=/var/lib/chinwag CHINWAG_RUNTIME_DIR=/run/chinwag
VOLUME /var/lib/chinwag
EXPOSE 7171/tcp 7171/udp
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["chinwag", "status"]
ENTRYPOINT ["chinwagd"]
