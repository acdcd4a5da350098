package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func registerCommand() *cli.Command {
	return &cli.Command{
		Name:      "register",
		Usage:     "register an instance of a service, and print its ID",
		ArgsUsage: "SERVICE",
		Description: "Each --check is a URL that says how the instance is checked:\n\n" +
			"   http://HOST:PORT/PATH, https://…   a status of 2xx passes, 429 warns, others are critical\n" +
			"   tcp://HOST:PORT                    a connection can be opened\n" +
			"   udp://HOST:PORT                    a datagram is answered, or at least not refused\n" +
			"   grpc://HOST:PORT[/SERVICE]         the standard health service says SERVING\n" +
			"   dns://HOST:PORT/NAME?type=A        the name is found\n" +
			"   ttl:30s                            a heartbeat (PUT /v1/agent/check/pass/service:ID) comes that often",
		Flags: withAPI(
			&cli.StringSliceFlag{Name: "port", EnvVars: registerEnv("PORT"), Usage: "`PORT` that the instance listens on, for SRV records; of several, each as NAME=PORT, the first is the default one (repeatable). Without one clients are told of none: SRV records say 0"},
			&cli.StringFlag{Name: "address", EnvVars: registerEnv("ADDRESS"), Usage: "`ADDRESS` or host name of the instance, where it is not its node's"},
			&cli.StringFlag{Name: "id", EnvVars: registerEnv("ID"), Usage: "`ID` of the instance; without it a unique one is made"},
			&cli.StringSliceFlag{Name: "tag", EnvVars: registerEnv("TAG"), Usage: "`TAG` that the instance bears (repeatable)"},
			&cli.StringSliceFlag{Name: "meta", EnvVars: registerEnv("META"), Usage: "metadata, as `KEY=VALUE` (repeatable)"},
			&cli.IntFlag{Name: "weight", Value: 1, EnvVars: registerEnv("WEIGHT"), Usage: "share of the clients, relative to the other instances'"},
			&cli.StringSliceFlag{Name: "check", EnvVars: registerEnv("CHECK"), Usage: "`URL` to check, see above (repeatable)"},
			&cli.DurationFlag{Name: "interval", Value: 10 * time.Second, EnvVars: registerEnv("INTERVAL"), Usage: "time from one probe to the next"},
			&cli.DurationFlag{Name: "check-timeout", EnvVars: registerEnv("CHECK_TIMEOUT"), Usage: "time for one probe to succeed"},
			&cli.DurationFlag{Name: "deregister-after", EnvVars: registerEnv("DEREGISTER_AFTER"), Usage: "remove the instance when it has been critical for so long"},
			&cli.IntFlag{Name: "failures-before-critical", EnvVars: registerEnv("FAILURES_BEFORE_CRITICAL"), DefaultText: "3", Usage: "how many failures in a row make a check critical"},
			&cli.BoolFlag{Name: "tls-skip-verify", EnvVars: registerEnv("TLS_SKIP_VERIFY"), Usage: "accept any certificate in https checks"},
		),
		Action: register,
	}
}

// registerEnv names a flag's environment variable. Kubernetes gives its pods a
// ROLLCALL_PORT of its own where a Service is called rollcall.
func registerEnv(name string) []string { return []string{"ROLLCALL_REGISTER_" + name} }

// registration is what /v1/agent/service/register takes.
type registration struct {
	ID, Name string
	Port     int               `json:",omitempty"`
	Ports    []port            `json:",omitempty"`
	Address  string            `json:",omitempty"`
	Tags     []string          `json:",omitempty"`
	Meta     map[string]string `json:",omitempty"`
	Weights  weights
	Checks   []checkDefinition `json:",omitempty"`
}

type port struct {
	Name    string
	Port    int
	Default bool
}

type checkDefinition struct {
	HTTP                           string `json:",omitempty"`
	TCP                            string `json:",omitempty"`
	UDP                            string `json:",omitempty"`
	GRPC                           string `json:",omitempty"`
	DNS                            string `json:",omitempty"`
	TTL                            string `json:",omitempty"`
	Interval                       string `json:",omitempty"`
	Timeout                        string `json:",omitempty"`
	DeregisterCriticalServiceAfter string `json:",omitempty"`
	FailuresBeforeCritical         int    `json:",omitempty"`
	TLSSkipVerify                  bool   `json:",omitempty"`
}

func register(ctx *cli.Context) error {
	args, err := arguments(ctx, "SERVICE")
	if err != nil {
		return err
	}
	r := registration{
		ID: ctx.String("id"), Name: args[0], Address: ctx.String("address"),
		Tags: ctx.StringSlice("tag"), Weights: weights{Passing: ctx.Int("weight"), Warning: 1},
	}
	if r.ID == "" {
		r.ID = args[0] + "-" + strings.ToLower(rand.Text()[:8])
	}
	if r.Port, r.Ports, err = portsOf(ctx); err != nil {
		return err
	}
	if r.Meta, err = keyValues(ctx, "meta"); err != nil {
		return err
	}
	if interval := ctx.Duration("interval"); interval <= 0 {
		return usageError(ctx, "--interval %v is no time from one probe to the next", interval)
	}
	for _, target := range ctx.StringSlice("check") {
		definition, err := checkOf(ctx, target)
		if err != nil {
			return err
		}
		r.Checks = append(r.Checks, definition)
	}
	c, err := newClient(ctx)
	if err != nil {
		return err
	}
	notices, err := c.put(ctx.Context, "/v1/agent/service/register", url.Values{"replace-existing-checks": {"true"}}, r)
	if err != nil {
		return blame(ctx, err)
	}
	for _, notice := range notices {
		fmt.Fprintln(ctx.App.ErrWriter, "rollcall:", oneLine(notice))
	}
	fmt.Fprintln(ctx.App.Writer, r.ID)
	return nil
}

// sources are where the fields of a registration come from. Those of a check stand
// before the check itself.
var sources = []struct{ field, from string }{
	{"Name", "SERVICE"}, {"ID", "--id"}, {"Address", "--address"}, {"Port", "--port"}, {"Tags", "--tag"}, {"Meta", "--meta"}, {"Weights", "--weight"},
	{"Check.Timeout", "--check-timeout"}, {"Check.DeregisterCriticalServiceAfter", "--deregister-after"},
	{"Check.FailuresBeforeCritical", "--failures-before-critical"}, {"Check", "--check"},
}

// blame says which flag it is whose value rollcall does not take.
func blame(ctx *cli.Context, err error) error {
	var refused *statusError
	if !errors.As(err, &refused) || refused.status != http.StatusBadRequest {
		return err
	}
	for _, s := range sources {
		if strings.HasPrefix(refused.text, s.field) {
			return usageError(ctx, "%s: %v", s.from, err)
		}
	}
	return err
}

// portsOf returns the one port, or several with names.
func portsOf(ctx *cli.Context) (one int, several []port, err error) {
	texts := ctx.StringSlice("port")
	for n, text := range texts {
		name, number, named := strings.Cut(text, "=")
		if !named {
			name, number = "", text
		}
		p, err := strconv.Atoi(number)
		switch {
		case err != nil || p < 1 || p > 65535:
			return 0, nil, usageError(ctx, "--port %q is no port from 1 to 65535, nor NAME=PORT", text)
		case !named && len(texts) > 1:
			return 0, nil, usageError(ctx, "--port %q needs a name, as one of several ports", text)
		case !named:
			return p, nil, nil
		}
		several = append(several, port{name, p, n == 0})
	}
	return 0, several, nil
}

// keyValues returns a repeatable flag's values of the form KEY=VALUE.
func keyValues(ctx *cli.Context, flag string) (map[string]string, error) {
	pairs := make(map[string]string)
	for _, pair := range ctx.StringSlice(flag) {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usageError(ctx, "--%s %q has not the form KEY=VALUE", flag, pair)
		}
		pairs[key] = value
	}
	return pairs, nil
}

// checkOf returns the check that a --check stands for.
func checkOf(ctx *cli.Context, target string) (checkDefinition, error) {
	d := checkDefinition{
		DeregisterCriticalServiceAfter: seconds(ctx.Duration("deregister-after")),
		FailuresBeforeCritical:         ctx.Int("failures-before-critical"),
		TLSSkipVerify:                  ctx.Bool("tls-skip-verify"),
	}
	scheme, rest, _ := strings.Cut(target, ":")
	host := strings.TrimPrefix(rest, "//")
	switch scheme {
	case "ttl":
		d.TTL = host
		return d, nil
	case "http", "https":
		d.HTTP = target
	case "tcp":
		d.TCP = host
	case "udp":
		d.UDP = host
	case "grpc":
		d.GRPC = host
	case "dns":
		if u, err := url.Parse(target); err != nil || strings.Trim(u.Path, "/") == "" {
			return d, usageError(ctx, "--check %q has no name to ask for: dns://HOST:PORT/NAME", target)
		}
		d.DNS = target
	default:
		return d, usageError(ctx, "--check %q begins with none of http:// https:// tcp:// udp:// grpc:// dns:// and ttl:", target)
	}
	d.Interval, d.Timeout = seconds(ctx.Duration("interval")), seconds(ctx.Duration("check-timeout"))
	return d, nil
}

// seconds writes a duration as the API takes it; zero is left out.
func seconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
