# The node as an image: docker build -t ottla .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p ottla-cli && cp target/release/ottla /ottla

FROM debian:bookworm-slim
COPY --from=build /ottla /usr/local/bin/ottla
# Data lies under the working directory, where users of Bitnami's image mount their volume, and belongs to the user of that image.
RUN mkdir -p /bitnami/kafka && chown -R 1001:0 /bitnami && chmod -R g+rwX /bitnami
WORKDIR /bitnami/kafka
VOLUME /bitnami
USER 1001
EXPOSE 9092 9093
STOPSIGNAL SIGTERM
# Settings come as KAFKA_CFG_<NAME> (Bitnami) or KAFKA_<NAME> (Apache), or in a file that is named after `server`.
ENTRYPOINT ["ottla", "server"]
