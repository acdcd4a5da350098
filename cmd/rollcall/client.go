package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// client speaks to the HTTP interface of a running rollcall. It is not the
// client of Consul's API, which would follow Consul's environment variables and
// so show a token meant for Consul to rollcall.
type client struct {
	base      *url.URL
	token     string
	tokenFile string        // that it is from
	timeout   time.Duration // of one request, or of a stream until it begins; 0: none
	http      *http.Client
}

// withAPI returns the flags of a command that speaks to a running rollcall,
// followed by its own.
func withAPI(own ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{
			Name: "api", Value: "http://127.0.0.1:5380", EnvVars: []string{"ROLLCALL_API"},
			Usage: "`URL` of rollcall's HTTP interface",
		},
		&cli.StringFlag{
			Name: "token-file", EnvVars: []string{"ROLLCALL_TOKEN_FILE"}, TakesFile: true,
			Usage: "`FILE` with the token that the HTTP interface asks for",
		},
		&cli.StringFlag{
			Name: "ca-file", EnvVars: []string{"ROLLCALL_CA_FILE"}, TakesFile: true,
			Usage: "`FILE` with the authority of the interface's certificate, where the system does not know it",
		},
		&cli.StringFlag{
			Name: "cert-file", EnvVars: []string{"ROLLCALL_CERT_FILE"}, TakesFile: true,
			Usage: "`FILE` with the certificate that the interface asks for, and its key",
		},
		&cli.DurationFlag{
			Name: "timeout", Value: 10 * time.Second, EnvVars: []string{"ROLLCALL_TIMEOUT"},
			Usage: "how long to wait for an answer",
			Action: func(ctx *cli.Context, timeout time.Duration) error {
				if timeout < 0 {
					return usageError(ctx, "--timeout %v is less than nothing", timeout)
				}
				return nil
			},
		},
	}, own...)
}

func newClient(ctx *cli.Context) (*client, error) {
	c := &client{timeout: ctx.Duration("timeout"), http: http.DefaultClient}
	config, err := clientTLS(ctx)
	if err != nil {
		return nil, err
	}
	if transport, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = transport.Clone()
		transport.MaxIdleConnsPerHost = importers // or else most requests of an import dial anew
		transport.TLSClientConfig = config
		c.http = &http.Client{Transport: transport}
	}
	text := ctx.String("api")
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	if c.base, err = url.Parse(text); err != nil || c.base.Host == "" || c.base.Scheme != "http" && c.base.Scheme != "https" {
		return nil, usageError(ctx, "--api %q is no http URL", ctx.String("api"))
	}
	if file := ctx.String("token-file"); file != "" {
		c.tokenFile = file
		if c.token, err = readToken(file); err != nil {
			return nil, usageError(ctx, "--token-file: %v", err)
		}
	}
	return c, nil
}

// clientTLS returns whom to believe, and what to show.
func clientTLS(ctx *cli.Context) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := ctx.String("ca-file"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, usageError(ctx, "--ca-file: %v", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, usageError(ctx, "--ca-file: %s holds no certificate", file)
		}
	}
	if file := ctx.String("cert-file"); file != "" {
		both, err := tls.LoadX509KeyPair(file, file)
		if err != nil {
			return nil, usageError(ctx, "--cert-file: %v", err)
		}
		config.Certificates = []tls.Certificate{both}
	}
	return config, nil
}

// readToken reads a token from a file.
func readToken(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("%s does not hold one token", file)
	}
	return token, nil
}

// get reads JSON from a path into out.
func (c *client) get(ctx context.Context, path string, query url.Values, out any) error {
	_, err := c.exchange(ctx, http.MethodGet, path, query, nil, out)
	return err
}

// put writes in, where it is not nil, to a path as JSON. It returns the notices
// that rollcall gave.
func (c *client) put(ctx context.Context, path string, query url.Values, in any) ([]string, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	header, err := c.exchange(ctx, http.MethodPut, path, query, body, nil)
	return header.Values("X-Rollcall-Notice"), err
}

func (c *client) exchange(ctx context.Context, method, path string, query url.Values, body io.Reader, out any) (header http.Header, err error) {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	response, err := c.do(ctx, method, path, query, body, nil)
	if err != nil {
		return nil, err
	}
	defer closing(response.Body, &err)
	if out != nil {
		switch err := json.NewDecoder(response.Body).Decode(out); {
		case errors.Is(err, context.DeadlineExceeded):
			return nil, c.unreachable(err)
		case err != nil:
			return nil, fmt.Errorf("reading the answer of %s: %w", response.Request.URL, err)
		}
	}
	return response.Header, nil
}

// stream hands over what a path answers with, which may take as long as it likes
// once it has begun.
func (c *client) stream(ctx context.Context, path string, header http.Header, read func(io.Reader) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(cmp.Or(c.timeout, math.MaxInt64), func() { cancel(context.DeadlineExceeded) })
	response, err := c.do(ctx, http.MethodGet, path, nil, nil, header)
	late.Stop()
	if err != nil {
		return err
	}
	defer closing(response.Body, &err)
	return read(response.Body)
}

// do sends a request and returns the response if its status says that all is
// well. The caller closes its body.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body io.Reader, header http.Header) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if response.StatusCode < 400 {
		return response, nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	refused := &statusError{response.StatusCode, strings.TrimSpace(string(text)), response.Header.Get("X-Request-Id")}
	if refused.status == http.StatusForbidden {
		refused.text = c.aboutToken(refused.text)
	}
	return nil, refused
}

// aboutToken tells a token that was not sent from one that is not known, which are
// the same to rollcall.
func (c *client) aboutToken(text string) string {
	const needed, missing = "a token is needed", "none was sent: --token-file names the file of one"
	isNeeded := strings.HasPrefix(text, needed)
	switch {
	case c.token == "" && isNeeded:
		return needed + ", and " + missing
	case c.token == "": // Consul says it in other words
		return strings.TrimPrefix(text+": if a token is needed, "+missing, ": ")
	case isNeeded:
		return "the token in --token-file " + c.tokenFile + " is not accepted"
	}
	return text
}

func (c *client) unreachable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fail(exitUnreachable, "no answer from %s within %v", c.base, c.timeout)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fail(exitUnreachable, "no rollcall answers at %s: %w", c.base, err)
}

// statusError is an answer that says no.
type statusError struct {
	status  int
	text    string // as rollcall wrote it, one sentence
	request string // as its log names it; empty: it does not say
}

func (e *statusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("rollcall answered %d %s", e.status, http.StatusText(e.status))
	}
	if e.status == http.StatusInternalServerError && e.request != "" {
		return fmt.Sprintf("%s (request %s in its log)", oneLine(e.text), oneLine(e.request))
	}
	return oneLine(e.text)
}

// As gives the error its exit code.
func (e *statusError) As(target any) bool {
	code := map[int]int{http.StatusBadRequest: exitUsage, http.StatusNotFound: exitNotFound}[e.status]
	f, ok := target.(**failure)
	if !ok || code == 0 {
		return false
	}
	*f = &failure{code, e}
	return true
}
