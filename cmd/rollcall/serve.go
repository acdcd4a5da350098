package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/urfave/cli/v2"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "answer DNS queries and take registrations",
		Description: "Needs no flag. SIGTERM and SIGINT end it after the queries at hand are answered;\n" +
			"a second one ends it at once. SIGHUP makes it read its configuration anew,\n" +
			"and SIGUSR1 write to the log what it answers from.",
		Flags: serveFlags(),
		Action: func(ctx *cli.Context) error {
			if _, err := arguments(ctx); err != nil {
				return err
			}
			sockets, err := takeSockets()
			if err != nil {
				return err
			}
			settings, err := configure(ctx, process{sockets: sockets})
			if err != nil {
				return err
			}
			settings.arguments = ctx.Lineage()[1].Args().Slice()
			return serve(ctx.Context, settings, ctx.App.Writer)
		},
	}
}

// serve runs a server until a signal ends it. What to try is written to out
// once it can be tried.
func serve(ctx context.Context, settings *settings, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal ends the program
	settings.hangUps = make(chan os.Signal, 1)
	signal.Notify(settings.hangUps, syscall.SIGHUP)
	defer signal.Stop(settings.hangUps)
	settings.dumps = make(chan os.Signal, 1)
	notifyDumps(settings.dumps)
	defer signal.Stop(settings.dumps)
	if os.Getenv("GOGC") == "" { // who sets that has chosen
		boundGarbage(ctx)
	}

	if _, err := memlimit.Set(memlimit.WithLogger(settings.logger)); err != nil {
		settings.logger.Debug("memory is not limited", "err", err)
	}
	s, err := newServer(ctx, settings)
	if err != nil {
		return err
	}
	defer closing(s, &err)
	s.greet(out)
	go debug.FreeOSMemory() // what reading the registry has left
	return s.run(ctx)
}

// greet says where the server is, and what to try next.
func (s *server) greet(out io.Writer) {
	zone := strings.TrimSuffix(s.registry.zones[0], ".")
	dnsAddr := reachable(s.dns.Addrs()[0])
	scheme, insecure := "http", ""
	if s.settings.adminCertificate != nil {
		scheme, insecure = "https", " --cacert $AUTHORITY"
	}
	api := scheme + "://" + reachable(s.adminAddr()).String()
	token := ""
	if s.settings.adminTokens != nil {
		token = ` -H "X-Consul-Token: $TOKEN"`
	}
	data := s.settings.dataDir
	if s.settings.consul != nil {
		data = "Consul's, datacenter " + s.registry.datacenter + ", node " + s.registry.node
	}
	if data == "" {
		data = "in memory only: all is forgotten when rollcall ends"
	}
	fmt.Fprintf(out, "rollcall %s answers for %s\n\n", buildVersion().Version, zone)
	for _, a := range s.dns.Addrs() {
		fmt.Fprintf(out, "  DNS   %s, UDP and TCP\n", a)
	}
	for _, a := range s.dns.AddrsOf("tls") {
		fmt.Fprintf(out, "  DNS   %s, TLS\n", a)
	}
	for _, a := range s.dns.AddrsOf("https") {
		fmt.Fprintf(out, "  DNS   https://%s/dns-query\n", a)
	}
	fmt.Fprintf(out, "  HTTP  %s://%s\n  data  %s\n\n", scheme, s.adminAddr(), data)
	fmt.Fprintf(out, "Register a service, then find it:\n\n")
	fmt.Fprintf(out, "  curl -X PUT%s%s %s/v1/agent/service/register -d '{\"Name\": \"web\", \"Port\": 8080}'\n", insecure, token, api)
	fmt.Fprintf(out, "  dig @%s -p %d web.service.%s SRV\n\n", dnsAddr.Addr(), dnsAddr.Port(), zone)
}
