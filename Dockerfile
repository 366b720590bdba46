# The image of iotpipe: built on Debian, run on Debian's slim image by a user without rights.
#
#   docker build -t iotpipe:0.1.0 .
#   docker run --rm iotpipe:0.1.0 demo

FROM rust:1.95.0-slim-bookworm AS build
# librdkafka, OpenSSL (which needs perl) and SQLite are built from the sources that their crates bring.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make perl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The dependencies, in a layer of their own: built anew only where one of these two files changes. The program itself is
# empty meanwhile, and what was built of it goes, so that no time stamp can keep it.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
    && touch src/lib.rs \
    && for file in src/main.rs benches/store_loop.rs benches/instructions.rs; do echo 'fn main() {}' >"$file"; done \
    && cargo build --release --locked --bin iotpipe \
    && cargo clean --release --locked --package iotpipe \
    && rm src/lib.rs src/main.rs

COPY cql ./cql
COPY schemas ./schemas
COPY src ./src
# Without line numbers in backtraces the program is a quarter of its size.
RUN cargo build --release --locked --bin iotpipe \
    && strip --strip-debug -o iotpipe target/release/iotpipe

FROM debian:bookworm-20260803-slim
# By number, so that an orchestrator can see that it is not root.
RUN useradd --uid 10001 --user-group --create-home --skel /dev/null --home-dir /var/lib/iotpipe --shell /usr/sbin/nologin iotpipe
COPY --from=build /build/iotpipe /usr/local/bin/iotpipe
USER 10001:10001
# What a command writes goes here if anywhere: a SQLite store, a manifest, a log file. iotpipe.toml is read from here.
WORKDIR /var/lib/iotpipe
# No HEALTHCHECK: what health means depends on the command. compose.yaml and deploy/kubernetes have the consumer's.
ENTRYPOINT ["iotpipe"]
CMD ["--help"]
