package health

import (
	"context"
	"crypto/tls"
	"errors"
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

			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) result {
		request, err := http.NewRequestWithContext(ctx, method, d.HTTP, strings.NewReader(d.Body))
		if err != nil {
			return critical("%v", err)
		}
		shown := request.URL.Redacted() // who reads an output need not know a password
		request.Header.Set("User-Agent", "rollcall health check")
		for name, values := range d.Header {
			request.Header[http.CanonicalHeaderKey(name)] = values
		}
		if host := request.Header.Get("Host"); host != "" {
			request.Host = host
		}
		response, err := client.Do(request)
		if err != nil {
			return noResponse(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxOutput))
		status := fmt.Sprint(response.StatusCode, " ", http.StatusText(response.StatusCode)) // in our words, not the target's
		found := result{statusOf(response.StatusCode), fmt.Sprintf("HTTP %s %s: %s%s%s", method, shown, status, registry.TargetSays, body)}
		found.output = clip(found.output)
		return found
	}
}

// clip makes text of what somebody said, and cuts it where it is too long.
func clip(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return strings.ToValidUTF8(text[:min(len(text), maxOutput)], "") // the cut may go through a character
}

// maxHeader is how much of a response's header is read, octets.
const maxHeader = 32 << 10

// noResponse says why there was none. What net/http and crypto/tls say of one that
// they do not understand has the target's words in it.
func noResponse(err error) result {
	var network *net.OpError
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return critical("%v", err)
	}
	return critical("there is no response that can be used.%s%v", registry.TargetSays, err)
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
