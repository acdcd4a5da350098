// Peers measures rollcall and other DNS servers side by side, on the same work.
//
// Each server has the first processor of the machine for itself, and dnsperf
// with everything else the second one. The servers take turns, round after
// round, so that a machine that is busy with something else is busy for all of
// them. What holds elsewhere are ratios, never absolute rates; and where dnsperf
// is what sets the pace, which the column busy tells, the ratio to look at is
// that of the processor time that a query takes.
//
//	go run ./testdata/bench/peers --rounds 5 --csv docs/performance.csv
//
// The loads: existing names, half of the questions for A and half for SRV, of
// 1,000 services with 3 instances each; absent names, each asked for once; and
// changes, which is existing while 500 registrations a second change what is
// asked for. In changes, what the registrations cost by themselves is measured
// first and taken off the cost of a query.
package main

import (
	"encoding/csv"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// sample is one server measured once under one load.
type sample struct {
	load, server string
	round        int
	figures      figures
}

func run() error {
	rollcall := flag.String("rollcall", "bin/rollcall", "the rollcall `program`")
	coredns := flag.String("coredns", "coredns", "the CoreDNS `program`")
	consul := flag.String("consul", "bin/consul", "the Consul `program`")
	names := flag.String("servers", "rollcall,knot,nsd,bind,coredns,consul", "which to measure")
	loads := flag.String("loads", "existing,absent,changes", "with which loads")
	rounds := flag.Int("rounds", 5, "how often each has its turn")
	length := flag.Duration("length", 3*time.Second, "how long a turn is measured")
	out := flag.String("csv", "", "a `file` to write the samples to")
	flag.Parse()
	for _, tool := range []string{"taskset", "dnsperf"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: apt-get install util-linux dnsperf", tool)
		}
	}
	work, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := writeInputs(work); err != nil {
		return err
	}
	all, err := servers(work, *rollcall, *coredns, *consul)
	if err != nil {
		return err
	}
	all = present(all, strings.Split(*names, ","))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	var samples []sample
	for _, load := range strings.Split(*loads, ",") {
		for round := range *rounds {
			for _, s := range all {
				if load == "changes" && s.register == nil {
					continue
				}
				select {
				case <-stop:
					return fmt.Errorf("interrupted")
				default:
				}
				f, err := measure(work, s, load, *length)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, load, err)
				}
				samples = append(samples, sample{load, s.name, round + 1, f})
			}
		}
		print(load, samples)
	}
	if *out == "" {
		return nil
	}
	return write(*out, samples)
}

// present leaves out the servers that nobody asked for, and those that are not
// on this machine, of which it says how to get them.
func present(all []*server, wanted []string) []*server {
	return slices.DeleteFunc(all, func(s *server) bool {
		if !slices.Contains(wanted, s.name) {
			return true
		}
		path, err := find(s.command[0])
		if err != nil {
			fmt.Printf("%s is not here and left out; to have it: %s\n", s.name, s.install)
			return true
		}
		s.command[0] = path
		return false
	})
}

// find looks for a program in PATH, and where distributions keep daemons.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + program)
	}
	return path, err
}

// print prints the medians of a load, and rollcall's ratio to each other server.
func print(load string, samples []sample) {
	by := make(map[string][]figures)
	for _, s := range samples {
		if s.load == load {
			by[s.server] = append(by[s.server], s.figures)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	fmt.Fprintf(w, "\n%s\tqueries/s\tus CPU/query\tmin..max\tbusy\tlost\tlatency us\trollcall: rate\tCPU\t\n", load)
	for _, name := range slices.SortedFunc(maps.Keys(by), func(a, b string) int {
		return int(1000*median(by[a], cpu)) - int(1000*median(by[b], cpu))
	}) {
		f := by[name]
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f..%.2f\t%.0f%%\t%.0f\t%.0f\t", name, median(f, rate), median(f, cpu), least(f, cpu), most(f, cpu),
			100*median(f, busy), median(f, lost), median(f, latency))
		if own := by["rollcall"]; own != nil && name != "rollcall" {
			fmt.Fprintf(w, "%.2fx\t%.2fx", median(own, rate)/median(f, rate), median(f, cpu)/median(own, cpu))
		} else {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprintln(w, "\t")
	}
}

func sorted(of []figures, which int) []float64 {
	values := make([]float64, len(of))
	for n, f := range of {
		values[n] = f[which]
	}
	slices.Sort(values)
	return values
}

func median(of []figures, which int) float64 { return sorted(of, which)[len(of)/2] }
func least(of []figures, which int) float64  { return sorted(of, which)[0] }
func most(of []figures, which int) float64   { return sorted(of, which)[len(of)-1] }

func write(path string, samples []sample) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	_ = w.Write(append([]string{"load", "round", "server"}, figureNames[:]...))
	for _, s := range samples {
		row := []string{s.load, fmt.Sprint(s.round), s.server}
		for _, figure := range s.figures {
			row = append(row, fmt.Sprintf("%.3f", figure))
		}
		_ = w.Write(row)
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return err
	}
	return f.Close()
}
