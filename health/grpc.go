package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rollcall-dns/rollcall/registry"
)

// newGRPC returns a prober that calls Check of the standard health service,
// grpc.health.v1.Health, and passes when it says SERVING. It is one unary call,
// for which net/http's HTTP/2 is enough: gRPC's own library would be as large as
// the rest of the program.
func newGRPC(d registry.Definition, dialer *net.Dialer) prober {
	target, service, _ := strings.Cut(d.GRPC, "/")
	protocols := new(http.Protocols)
	scheme := "http"
	if d.GRPCUseTLS {
		scheme = "https"
		protocols.SetHTTP2(true)
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	url := scheme + "://" + target + "/grpc.health.v1.Health/Check"
	message := healthRequest(service)
	return func(ctx context.Context) result {
		transport := &http.Transport{DialContext: dialer.DialContext, Protocols: protocols, TLSClientConfig: clientTLS(d), DisableCompression: true, MaxResponseHeaderBytes: maxHeader}
		defer transport.CloseIdleConnections()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(message))
		if err != nil {
			return critical("%v", err)
		}
		request.Header.Set("Content-Type", "application/grpc")
		request.Header.Set("TE", "trailers")
		response, err := transport.RoundTrip(request)
		if err != nil {
			return noResponse(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, maxOutput))
		if err != nil {
			return noResponse(err)
		}
		trailer := response.Trailer
		if trailer.Get("Grpc-Status") == "" {
			trailer = response.Header // a call that failed at once has no trailer of its own
		}
		if code := trailer.Get("Grpc-Status"); code != "0" {
			return critical("gRPC check %s: not well.%sstatus %.20s %.1000s", d.GRPC, registry.TargetSays, code, trailer.Get("Grpc-Message"))
		}
		if status := servingStatus(body); status != serving {
			return critical("gRPC check %s: serving status %d", d.GRPC, status)
		}
		return passing("gRPC check %s: success", d.GRPC)
	}
}

// serving is SERVING of HealthCheckResponse.ServingStatus.
const serving = 1

// healthRequest is a HealthCheckRequest, which has the service's name as field
// 1, behind the prefix that gRPC puts before messages.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = protowire.AppendTag(message, 1, protowire.BytesType)
		message = protowire.AppendString(message, service)
	}
	prefixed := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(prefixed, message...)
}

// servingStatus returns field 1 of a HealthCheckResponse.
func servingStatus(body []byte) uint64 {
	const prefix = 5
	if len(body) < prefix {
		return 0
	}
	message := body[prefix:]
	number, kind, n := protowire.ConsumeTag(message)
	if n < 0 || number != 1 || kind != protowire.VarintType {
		return 0
	}
	status, n := protowire.ConsumeVarint(message[n:])
	if n < 0 {
		return 0
	}
	return status
}
