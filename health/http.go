package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// newHTTP returns a prober that makes a request: a status of 2xx passes, 429
// warns, anything else is critical. Redirects are not followed, whatever the
// definition says: they could lead a check to where it may not go. Each probe
// opens a connection of its own, as a kept one says nothing of the listener.
func newHTTP(d registry.Definition, dialer *net.Dialer) prober {
	method := d.Method
	if method == "" {
		method = http.MethodGet
	}
	client := &http.Client{
		Transport: &http.Transport{
			DialContext:        dialer.DialContext,
			DisableKeepAlives:  true,
			DisableCompression: true,
			TLSClientConfig:    clientTLS(d),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) result {
		request, err := http.NewRequestWithContext(ctx, method, d.HTTP, strings.NewReader(d.Body))
		if err != nil {
			return critical("%v", err)
		}
		request.Header.Set("User-Agent", "rollcall health check")
		for name, values := range d.Header {
			request.Header[http.CanonicalHeaderKey(name)] = values
		}
		if host := request.Header.Get("Host"); host != "" {
			request.Host = host
		}
		response, err := client.Do(request)
		if err != nil {
			return critical("%v", err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxOutput))
		found := result{statusOf(response.StatusCode), fmt.Sprintf("HTTP %s %s: %s Output: %s", method, d.HTTP, response.Status, body)}
		found.output = strings.ToValidUTF8(found.output[:min(len(found.output), maxOutput)], "\uFFFD")
		return found
	}
}

func statusOf(code int) registry.Status {
	switch {
	case code >= 200 && code < 300:
		return registry.Passing
	case code == http.StatusTooManyRequests:
		return registry.Warning
	}
	return registry.Critical
}

func clientTLS(d registry.Definition) *tls.Config {
	return &tls.Config{ServerName: d.TLSServerName, InsecureSkipVerify: d.TLSSkipVerify} // the registrant asked for it
}
