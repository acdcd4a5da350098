package static

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Parse reads a zone from a master file in a file system. Files that it includes
// are read from there, too, and from nowhere else. An error begins with the file,
// dir before its name, and the line of the mistake.
func Parse(name string, files fs.FS, file, dir string) (*Zone, error) {
	p := &parser{files: files, dir: dir, zone: &Zone{name: dns.CanonicalName(name), nodes: make(map[string]*node)}}
	var ok bool
	if p.zone.apex, ok = wireOf(p.zone.name); !ok {
		return nil, fmt.Errorf("zone %q is no domain name", name)
	}
	err := p.parse(file)
	for _, s := range p.open {
		_ = s.File.Close()
	}
	if err != nil {
		return nil, err
	}
	return p.zone, nil
}

// defaultTTL is the TTL of records before any that have one, and before $TTL.
const defaultTTL = 300

// parser reads one zone.
type parser struct {
	files fs.FS
	dir   string
	zone  *Zone
	open  []*source // those that are open now, each included by the one before it
	lines map[dns.RR]place
}

// place is where a record ends.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

func (p *parser) parse(file string) error {
	main, err := p.Open(file)
	if err != nil {
		return err
	}
	p.lines = make(map[dns.RR]place)
	z := dns.NewZoneParser(main, p.zone.name, file)
	z.SetDefaultTTL(defaultTTL)
	z.SetIncludeAllowed(true)
	z.SetIncludeFS(p)
	for rr, ok := z.Next(); ok; rr, ok = z.Next() {
		at := p.place()
		p.lines[rr] = at
		if err := p.zone.add(rr); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	if err := z.Err(); err != nil {
		return p.explain(err)
	}
	return p.zone.finish(file, p.dir, p.lines)
}

// place returns where the parser has come to.
func (p *parser) place() place {
	s := p.open[len(p.open)-1]
	return place{s.name, s.line()}
}

// explain brings an error of miekg/dns into the form FILE:LINE: MISTAKE.
func (p *parser) explain(err error) error {
	var wrong *dns.ParseError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("%s: %w", p.place(), err)
	}
	m := parseError.FindStringSubmatch(wrong.Error())
	if m == nil {
		return err
	}
	return fmt.Errorf("%s:%s: %s", filepath.Join(p.dir, m[1]), m[3], m[2])
}

// parseError is the form of miekg/dns's own: FILE: dns: MISTAKE: "TOKEN" at line: LINE:COLUMN.
var parseError = regexp.MustCompile(`(?s)^(.*?): dns: (.*) at line: (\d+):\d+$`)

// Open implements fs.FS for the zone's file and those it includes.
func (p *parser) Open(name string) (fs.File, error) {
	f, err := p.files.Open(name)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, fmt.Errorf("%s: %w", filepath.Join(p.dir, name), err)
	}
	s := &source{File: f, buffer: bufio.NewReader(f), name: filepath.Join(p.dir, name), parser: p}
	p.open = append(p.open, s)
	return s, nil
}

// source is a file that is being read, and knows how far. miekg/dns reads it octet
// by octet, and tells no line of a record that it could read.
type source struct {
	fs.File
	parser  *parser
	name    string
	buffer  *bufio.Reader
	ended   int // lines
	midLine bool
}

// ReadByte implements io.ByteReader.
func (s *source) ReadByte() (byte, error) {
	b, err := s.buffer.ReadByte()
	if err != nil {
		return 0, err
	}
	if s.midLine = b != '\n'; !s.midLine {
		s.ended++
	}
	return b, nil
}

// Read implements io.Reader, which nobody asks for.
func (s *source) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

// Close implements io.Closer.
func (s *source) Close() error {
	if at := slices.Index(s.parser.open, s); at > 0 { // the last words on the first are still to be said
		s.parser.open = slices.Delete(s.parser.open, at, at+1)
	}
	return s.File.Close()
}

// line returns the line that was read last.
func (s *source) line() int {
	if s.midLine {
		return s.ended + 1
	}
	return max(s.ended, 1)
}

// show returns a name in wire format as text.
func show(wire string) string {
	name, _, err := dns.UnpackDomainName([]byte(wire), 0)
	if err != nil {
		return fmt.Sprintf("%q", wire)
	}
	return name
}

// typeName returns a type's name, or its number.
func typeName(rrtype uint16) string { return strings.ToUpper(dns.Type(rrtype).String()) }
