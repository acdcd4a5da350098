package registry

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestValidateNamesTheFieldAtFault(t *testing.T) {
	long, refused := strings.Repeat("a", 64), 0
	for _, row := range []struct {
		name  string
		field string // empty: valid
		edit  func(*Registration)
	}{
		{"as it is", "", func(r *Registration) {}},
		{"a service with dots and underscores", "", func(r *Registration) { r.Instance.Service = "a_b.c-d" }},
		{"no service name", "Name", func(r *Registration) { r.Instance.Service = "" }},
		{"a blank in a service's name", "Name", func(r *Registration) { r.Instance.Service = "my web" }},
		{"two dots in a row", "Name", func(r *Registration) { r.Instance.Service = "a..b" }},
		{"a label of 64 octets", "Name", func(r *Registration) { r.Instance.Service = long }},
		{"a name of 201 octets", "Name", func(r *Registration) { r.Instance.Service = strings.Repeat("a.", 100) + "a" }},
		{"a path as ID", "ID", func(r *Registration) { r.Instance.ID = "../../etc/passwd" }},
		{"two dots as ID", "ID", func(r *Registration) { r.Instance.ID = ".." }},
		{"an ID as registrators make it", "", func(r *Registration) { r.Instance.ID = "host-1:web_2:8080" }},
		{"any text as tag", "", func(r *Registration) { r.Instance.Tags = []string{"traefik.http.routers.web.rule=Host(`x`)"} }},
		{"a line feed in a tag", "Tags", func(r *Registration) { r.Instance.Tags = []string{"a\nb"} }},
		{"a port too large", "Port", func(r *Registration) { r.Instance.Port = 65536 }},
		{"no port", "", func(r *Registration) { r.Instance.Port = 0 }},
		{"the unspecified address", "Address", func(r *Registration) { r.Instance.Address = "0.0.0.0" }},
		{"a multicast address", "Address", func(r *Registration) { r.Instance.Address = "ff02::1" }},
		{"half an address", "Address", func(r *Registration) { r.Instance.Address = "10.0.0" }},
		{"an address in other digits", "Address", func(r *Registration) { r.Instance.Address = "0x7f.1" }},
		{"a hyphen as address", "Address", func(r *Registration) { r.Instance.Address = "-" }},
		{"a hyphen at the end of a label", "Address", func(r *Registration) { r.Instance.Address = "db-.example.com" }},
		{"a number within a host name", "", func(r *Registration) { r.Instance.Address = "10.db-1.example.com" }},
		{"a host name as address", "", func(r *Registration) { r.Instance.Address = "db.example.com." }},
		{"4 KiB of metadata", "", func(r *Registration) { r.Instance.Meta = map[string]string{"k": strings.Repeat("v", 4095)} }},
		{"an octet more", "Meta", func(r *Registration) { r.Instance.Meta = map[string]string{"k": strings.Repeat("v", 4096)} }},
		{"a weight of zero", "Weights.Passing", func(r *Registration) { r.Instance.Weights = Weights{0, 1} }},
		{"a node's name with a slash", "Node", func(r *Registration) { r.Node.Name = "a/b" }},
		{"two kinds of check", "Check", func(r *Registration) { r.Checks[0].Definition.TCP = "10.0.0.1:80" }},
		{"no interval", "Check.Interval", func(r *Registration) { r.Checks[0].Definition.Interval = 0 }},
		{"a file as URL", "Check.HTTP", func(r *Registration) { r.Checks[0].Definition.HTTP = "file:///etc/passwd" }},
		{"a target without a port", "Check.TCP", func(r *Registration) { r.Checks[0].Definition = &Definition{TCP: "web", Interval: time.Second} }},
		{"a path as a check's ID", "CheckID", func(r *Registration) { r.Checks[0].ID = "../../etc/passwd" }},
		{"a path from the root", "CheckID", func(r *Registration) { r.Checks[0].ID = "/../<i>" }},
		{"a dot as a check's ID", "CheckID", func(r *Registration) { r.Checks[0].ID = "." }},
		{"two dots within one", "CheckID", func(r *Registration) { r.Checks[0].ID = "a/../b" }},
		{"markup in one", "CheckID", func(r *Registration) { r.Checks[0].ID = "<i>web</i>" }},
		{"a quotation mark in one", "CheckID", func(r *Registration) { r.Checks[0].ID = `a" onclick="` }},
		{"a backslash in one", "CheckID", func(r *Registration) { r.Checks[0].ID = `..\..\etc` }},
		{"a NUL in one", "CheckID", func(r *Registration) { r.Checks[0].ID = "a\x00" }},
		{"an escape in one", "CheckID", func(r *Registration) { r.Checks[0].ID = "a\u009b31m" }},
		{"a name that becomes an ID", "Check.Name", func(r *Registration) { r.Instance, r.Checks[0].Name = nil, "../../etc/passwd" }},
		{"a name that does not", "", func(r *Registration) { r.Checks[0].Name = "is < 5 ms from .." }},
		{"a check's ID as Consul makes it", "", func(r *Registration) { r.Checks[0].ID = "service:host-1:web_2:8080:2" }},
		{"of its maintenance", "", func(r *Registration) { r.Checks[0].ID = "_service_maintenance:web" }},
		{"as Kubernetes has it", "", func(r *Registration) { r.Checks[0].ID = "default/web-7f9c-web" }},
		{"of words", "", func(r *Registration) { r.Checks[0].ID = "disk of host-1 (root)" }},
		{"of another script", "", func(r *Registration) { r.Checks[0].ID = "prüfung-七" }},
		{"a node's ID as Consul makes it", "", func(r *Registration) { r.Node.ID = "40e4a748-2192-161a-0510-9bf59fe950b5" }},
		{"a path as a node's ID", "ID", func(r *Registration) { r.Node.ID = "../../etc/passwd" }},
		{"two dots as a node's ID", "ID", func(r *Registration) { r.Node.ID = ".." }},
		{"markup as a node's ID", "ID", func(r *Registration) { r.Node.ID = "<i>" }},
		{"a negative time", "Check.Timeout", func(r *Registration) { r.Checks[0].Definition.Timeout = -1 }},
	} {
		if row.field != "" {
			refused++
		}
		t.Run(row.name, func(t *testing.T) {
			r := Registration{
				Instance: &Instance{Service: "web", ID: "web-1", Port: 80},
				Checks:   []Check{{Definition: &Definition{HTTP: "http://10.0.0.1/", Interval: 10 * time.Second}}},
			}
			row.edit(&r)
			err := r.Validate()
			var e *Error
			switch {
			case row.field == "" && err != nil:
				t.Errorf("refused: %v", err)
			case row.field != "" && !errors.As(err, &e):
				t.Errorf("accepted, or refused without a code: %v", err)
			case row.field != "" && (e.Code != Invalid || e.Field != row.field):
				t.Errorf("code %d, field %q, want Invalid, %q: %v", e.Code, e.Field, row.field, err)
			}
		})
	}
	t.Logf("%d names, IDs, addresses and others are refused by their field", refused)
}

func TestValidateMakesAddressesCanonical(t *testing.T) {
	r := Registration{Node: Node{Address: "::FFFF:10.0.0.1"}, Instance: &Instance{Service: "web", Address: "2001:DB8:0::1"}}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	if r.Node.Address != "10.0.0.1" || r.Instance.Address != "2001:db8::1" {
		t.Errorf("addresses are %s and %s", r.Node.Address, r.Instance.Address)
	}
}

func TestValidateRaisesShortIntervals(t *testing.T) {
	r := Registration{Checks: []Check{{ID: "c", Definition: &Definition{TCP: "10.0.0.1:80", Interval: time.Nanosecond}}}}
	if err := r.Validate(); err != nil || r.Checks[0].Definition.Interval != time.Second {
		t.Errorf("the interval is %v, %v", r.Checks[0].Definition.Interval, err)
	}
}

func TestNoticesTellWhatNoNameCanAskFor(t *testing.T) {
	r := Registration{Instance: &Instance{Service: "web", ID: "web.1", Tags: []string{"v1.primary", "two words"}}}
	want := []string{
		`tag "two words" is kept, but it is no sequence of DNS labels: no DNS name can ask for it`,
		`ID "web.1" has dots: DNS-SD shows it as the one label web\.1`,
	}
	if got := r.Notices(); !slices.Equal(got, want) {
		t.Errorf("notices are %q, want %q", got, want)
	}
}

func TestErrorKeepsItsCause(t *testing.T) {
	cause := errors.New("no space left")
	err := Errorf(Full, "register %s: %w", "web", cause)
	if CodeOf(err) != Full || !errors.Is(err, cause) || err.Error() != "register web: no space left" {
		t.Errorf("got %v of code %d", err, CodeOf(err))
	}
	if CodeOf(cause) != Internal {
		t.Errorf("a foreign error has code %d", CodeOf(cause))
	}
}
