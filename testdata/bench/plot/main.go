// Plot draws the pictures of docs/performance.md from the measured data.
//
//	go run ./testdata/bench/plot docs
//
// It reads performance.csv, as testdata/bench/peers writes it, and scale.csv, as
// TestScale does, in the directory that it is given, and leaves the pictures
// there, as SVG.
package main

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: plot DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	samples, err := read(filepath.Join(dir, "performance.csv"))
	if err != nil {
		return err
	}
	for _, load := range []string{"existing", "absent", "changes"} {
		var bars []bar
		for _, s := range samples {
			if s["load"] != load {
				continue
			}
			value, err := strconv.ParseFloat(s["cpu_us_per_query"], 64)
			if err != nil {
				return fmt.Errorf("performance.csv: %w", err)
			}
			at := slices.IndexFunc(bars, func(b bar) bool { return b.name == s["server"] })
			if at < 0 {
				at, bars = len(bars), append(bars, bar{name: s["server"]})
			}
			bars[at].values = append(bars[at].values, value)
		}
		if len(bars) == 0 {
			continue
		}
		title := "Processor time per query, us, " + load
		if err := os.WriteFile(filepath.Join(dir, "performance-"+load+".svg"), []byte(drawBars(title, bars)), 0o644); err != nil {
			return err
		}
	}
	figures, err := read(filepath.Join(dir, "scale.csv"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "scale.svg"), []byte(drawGrowth(figures)), 0o644)
}

// read returns the rows of a file by the names in its first one.
func read(path string) (rows []map[string]string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) == 0 {
		return nil, fmt.Errorf("%s: no data: %w", path, err)
	}
	for _, line := range lines[1:] {
		row := make(map[string]string)
		for n, name := range lines[0] {
			row[name] = line[n]
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// bar is a server, and what it was measured to be in each round.
type bar struct {
	name   string
	values []float64
}

func (b *bar) median() float64 { return b.values[len(b.values)/2] }

const (
	width = 640
	left  = 90
	right = 70
	style = `<style>text{font:12px sans-serif;fill:#333}.t{font-weight:bold}.own{fill:#0a7d5a}.other{fill:#9aa5b1}.line{stroke:#333;fill:none}.grid{stroke:#ddd}</style>`
)

// drawBars draws the medians, the least first, each with a line from its least
// value to its most. The scale is logarithmic: the servers lie far apart.
func drawBars(title string, bars []bar) string {
	top, bottom := math.Inf(1), 0.0
	for n := range bars {
		slices.Sort(bars[n].values)
		top, bottom = min(top, bars[n].values[0]), max(bottom, bars[n].values[len(bars[n].values)-1])
	}
	slices.SortFunc(bars, func(a, b bar) int { return int(1000 * (a.median() - b.median())) })
	from, to := math.Floor(math.Log10(top)), math.Ceil(math.Log10(bottom))
	x := func(v float64) float64 { return left + (math.Log10(v)-from)/(to-from)*(width-left-right) }
	var svg strings.Builder
	height := 50 + 26*len(bars)
	begin(&svg, title, height)
	for power := from; power <= to; power++ {
		v := math.Pow(10, power)
		fmt.Fprintf(&svg, `<line class="grid" x1="%.1f" x2="%.1f" y1="30" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n", x(v), x(v), height-18, x(v), height-5, v)
	}
	for n, b := range bars {
		class, y := "other", 36+26*n
		if b.name == "rollcall" {
			class = "own"
		}
		fmt.Fprintf(&svg, `<text x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="18"/>`, left-6, y+13, b.name, class, left, y, x(b.median())-left)
		fmt.Fprintf(&svg, `<line class="line" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(b.values[0]), x(b.values[len(b.values)-1]), y+9, y+9)
		fmt.Fprintf(&svg, `<text x="%.1f" y="%d">%.2f</text>`+"\n", x(b.values[len(b.values)-1])+6, y+13, b.median())
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}

// drawGrowth draws a line for each figure: how many times what it is with the
// fewest instances.
func drawGrowth(rows []map[string]string) string {
	const height, top, low = 320, 40, 290
	shown := []string{"heap, B/instance", "update in memory, us", "update on disk, us", "hit, 100 services, ns", "hit, any service, ns", "miss, 100 services, ns", "miss, any service, ns"}
	colours := []string{"#0a7d5a", "#d97706", "#b45309", "#2563eb", "#93c5fd", "#7c3aed", "#c4b5fd"}
	number := func(row, column string) float64 {
		for _, r := range rows {
			if r["figure"] == row {
				v, _ := strconv.ParseFloat(r[column], 64)
				return v
			}
		}
		return 0
	}
	sizes := []string{"1000", "10000", "100000", "1000000"}
	const most = 10.0
	x := func(n int) float64 { return left + float64(n)*(width-left-200)/float64(len(sizes)-1) }
	y := func(growth float64) float64 {
		return low - math.Log10(max(growth, 0.5)/0.5)/math.Log10(most/0.5)*(low-top)
	}
	var svg strings.Builder
	begin(&svg, "Growth with the number of instances, relative to 1,000", height)
	for _, growth := range []float64{0.5, 1, 2, 5, 10} {
		fmt.Fprintf(&svg, `<line class="grid" x1="%d" x2="%.1f" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%gx</text>`+"\n", left, x(len(sizes)-1), y(growth), y(growth), left-6, y(growth)+4, growth)
	}
	for n, size := range sizes {
		fmt.Fprintf(&svg, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(n), height-10, size)
	}
	for k, name := range shown {
		var points []string
		for n, size := range sizes {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(n), y(number(name, size)/number(name, sizes[0]))))
		}
		fmt.Fprintf(&svg, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(points, " "), colours[k])
		fmt.Fprintf(&svg, `<rect x="%d" y="%d" width="10" height="10" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", width-180, 50+20*k, colours[k], width-164, 59+20*k, name)
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}

func begin(svg *strings.Builder, title string, height int) {
	fmt.Fprintf(svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(svg, `<title>%s</title>%s<rect width="%d" height="%d" fill="#fff"/><text class="t" x="10" y="20">%s</text>`+"\n", title, style, width, height, title)
}
