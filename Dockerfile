# rollcall in an image that holds nothing else: no shell, no root.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) --build-arg REVISION=$(git rev-parse HEAD) -t rollcall .
#   docker run -p 5300:5300/udp -p 5300:5300/tcp -v rollcall:/var/lib/rollcall --name rollcall rollcall
#   docker exec rollcall /rollcall register web --port 80 --address 192.0.2.1
#
# DNS is open to the container's network, HTTP is not: register through
# `docker exec`, or give a token and open it, too:
#
#   -p 5380:5380 -e ROLLCALL_ADMIN_ADDR=:5380
#   -v ./token:/run/secrets/rollcall -e ROLLCALL_ADMIN_TOKEN_FILE=/run/secrets/rollcall

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION REVISION
RUN make build VERSION=${VERSION} REVISION=${REVISION} && mkdir /state

FROM scratch
LABEL org.opencontainers.image.title="rollcall" \
      org.opencontainers.image.description="A DNS server for service discovery" \
      org.opencontainers.image.source="https://github.com/rollcall-dns/rollcall" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/rollcall /rollcall
COPY --from=build --chown=65532:65532 /state /var/lib/rollcall
ENV ROLLCALL_DNS_ADDR=:5300 \
    ROLLCALL_DATA_DIR=/var/lib/rollcall
USER 65532
EXPOSE 5300/udp 5300/tcp 5380/tcp
VOLUME /var/lib/rollcall
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/rollcall", "healthcheck"]
ENTRYPOINT ["/rollcall"]
CMD ["serve"]
