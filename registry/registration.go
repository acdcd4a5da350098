package registry

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Registration adds or replaces a node, an instance on it, and checks, as one
// change: all of it is there afterwards, or nothing.
type Registration struct {
	// Node is the node; an empty name stands for the registry's own. With an
	// empty Address a node that is there already stays as it is.
	Node Node
	// Instance is the instance to register; nil to register a node or checks
	// alone. An empty ID stands for the service's name, and its Node is ignored.
	Instance *Instance
	// Checks are the checks to register. One with neither InstanceID nor Service
	// belongs to Instance, or to the node where that is nil. An empty ID gets
	// Consul's: service:ID, and service:ID:N when there are several. A zero
	// Status stands for that of the check it replaces, or else Critical.
	Checks []Check
	// ReplaceChecks drops those checks of the instance that Checks does not name.
	ReplaceChecks bool
	// If, when set, makes the registration conditional: it is asked with the View
	// that the registration is about to change, and its error is the outcome. It may
	// be asked more than once, must not wait, and is not asked by every Registry: one
	// that cannot refuses the registration, as Invalid.
	If func(*View) error
}

// Bounds on what may be registered. They keep any one name within DNS's 255
// octets under any zone, and any one TXT record within a datagram.
const (
	maxLabel    = 63
	maxName     = 200
	maxID       = 255
	maxCheckID  = 2 * maxID
	maxNodeID   = 64
	maxTag      = 255
	maxTags     = 64
	maxPorts    = 32
	maxMeta     = 4 << 10
	maxChecks   = 64
	maxOutput   = 4 << 10
	maxHostName = 253

	minInterval = time.Second // of probes; a shorter one is raised to it, as in Consul
)

// Validate tells what is wrong with the registration as an Error of code
// Invalid, and brings its addresses into their canonical form: an IPv6 address
// that stands for an IPv4 one becomes that. An interval under a second becomes one.
func (r *Registration) Validate() error {
	if err := r.Node.validate(); err != nil {
		return err
	}
	if r.Instance != nil {
		if err := r.Instance.validate(); err != nil {
			return err
		}
	}
	if len(r.Checks) > maxChecks {
		return invalid("Checks", "are %d, and at most %d are kept", len(r.Checks), maxChecks)
	}
	for i := range r.Checks {
		if c := &r.Checks[i]; c.ID == "" && (r.Instance == nil || c.InstanceID != "") { // its name becomes its ID
			if err := validateCheckID("Check.Name", c.Name); err != nil {
				return err
			}
		}
		if err := r.Checks[i].validate(); err != nil {
			return err
		}
	}
	return nil
}

// Notices returns a sentence for each part of the registration that is kept
// and yet cannot be found by a DNS name as it stands.
func (r *Registration) Notices() []string {
	if r.Instance == nil {
		return nil
	}
	var notices []string
	for _, tag := range r.Instance.Tags {
		if validateName("Tag", tag) != nil {
			notices = append(notices, fmt.Sprintf("tag %q is kept, but it is no sequence of DNS labels: no DNS name can ask for it", tag))
		}
	}
	switch id := r.Instance.ID; {
	case len(id) > maxLabel:
		notices = append(notices, fmt.Sprintf("ID %q is longer than the %d octets of a DNS label: DNS-SD does not list the instance", id, maxLabel))
	case strings.Contains(id, "."):
		notices = append(notices, fmt.Sprintf(`ID %q has dots: DNS-SD shows it as the one label %s`, id, strings.ReplaceAll(id, ".", `\.`)))
	}
	return notices
}

func (n *Node) validate() error {
	if n.Name != "" {
		if err := validateName("Node", n.Name); err != nil {
			return err
		}
	}
	if err := canonicalAddress("Address", &n.Address); err != nil {
		return err
	}
	if len(n.ID) > maxNodeID || validateID(n.ID) != nil {
		return invalid("ID", "of the node, %.80q, must be at most %d letters, digits and ._:@- and not a lone . or ..", n.ID, maxNodeID)
	}
	for tag, address := range n.TaggedAddresses {
		if err := canonicalAddress("TaggedAddresses."+tag, &address); err != nil {
			return err
		}
		n.TaggedAddresses[tag] = address
	}
	return validateMeta("NodeMeta", n.Meta)
}

func (i *Instance) validate() error {
	if i.Service == "" {
		return invalid("Name", "of the service is missing")
	}
	if err := validateName("Name", i.Service); err != nil {
		return err
	}
	if err := validateID(i.ID); err != nil {
		return err
	}
	if len(i.Tags) > maxTags {
		return invalid("Tags", "are %d, and at most %d are kept", len(i.Tags), maxTags)
	}
	for _, tag := range i.Tags {
		if tag == "" || len(tag) > maxTag || !printable(tag) {
			return invalid("Tags", "hold %.80q, which is not 1 to %d octets of text", tag, maxTag)
		}
	}
	if err := validatePort("Port", i.Port); err != nil {
		return err
	}
	if err := i.validatePorts(); err != nil {
		return err
	}
	if err := canonicalAddress("Address", &i.Address); err != nil {
		return err
	}
	for tag, a := range i.TaggedAddresses {
		if err := canonicalAddress("TaggedAddresses."+tag, &a.Address); err != nil {
			return err
		}
		if err := validatePort("TaggedAddresses."+tag+".Port", a.Port); err != nil {
			return err
		}
		i.TaggedAddresses[tag] = a
	}
	if i.Weights != (Weights{}) && (i.Weights.Passing < 1 || i.Weights.Passing > 65535) {
		return invalid("Weights.Passing", "is %d, and must be 1 to 65535", i.Weights.Passing)
	}
	if i.Weights.Warning < 0 || i.Weights.Warning > 65535 {
		return invalid("Weights.Warning", "is %d, and must be 0 to 65535", i.Weights.Warning)
	}
	return validateMeta("Meta", i.Meta)
}

// validatePorts also makes the default port the instance's.
func (i *Instance) validatePorts() error {
	if len(i.Ports) > maxPorts {
		return invalid("Ports", "are %d, and at most %d are kept", len(i.Ports), maxPorts)
	}
	byDefault := 0
	for n, p := range i.Ports {
		if err := validateName("Ports.Name", p.Name); err != nil {
			return err
		}
		switch {
		case strings.Contains(p.Name, ".") || len(p.Name) > maxLabel:
			return invalid("Ports.Name", "%.80q must be one label of a DNS name", p.Name)
		case p.Port < 1 || p.Port > 65535:
			return invalid("Ports.Port", "is %d, and must be 1 to 65535", p.Port)
		case slices.ContainsFunc(i.Ports[:n], func(o Port) bool { return strings.EqualFold(o.Name, p.Name) }):
			return invalid("Ports.Name", "%q is there twice", p.Name)
		case p.Default && byDefault > 0:
			return invalid("Ports.Default", "is set for more than one port")
		case p.Default:
			byDefault = p.Port
		}
	}
	if len(i.Ports) == 0 {
		return nil
	}
	switch {
	case byDefault == 0:
		return invalid("Ports.Default", "must be set for one of the ports")
	case i.Port != 0 && i.Port != byDefault:
		return invalid("Port", "is %d, and the default one of Ports is %d", i.Port, byDefault)
	}
	i.Port = byDefault
	return nil
}

func (c *Check) validate() error {
	if err := validateCheckID("CheckID", c.ID); err != nil {
		return err
	}
	if !printable(c.Name) || len(c.Name) > maxCheckID {
		return invalid("Check.Name", "must be at most %d octets of text", maxCheckID)
	}
	if len(c.Notes) > maxOutput || !utf8.ValidString(c.Notes) {
		return invalid("Check.Notes", "must be at most %d octets of text", maxOutput)
	}
	if c.Status > Critical {
		return invalid("Check.Status", "is none of passing, warning and critical")
	}
	if c.Definition == nil {
		c.Definition = noDefinition
	}
	if err := c.Definition.validate(); err != nil {
		return err
	}
	if !c.Until.IsZero() && c.Definition.Kind() != "" {
		return invalid("Check.Until", "is for a maintenance, and not for a check of type %s", c.Definition.Kind())
	}
	if i := c.Definition.Interval; i > 0 && i < minInterval {
		slower := *c.Definition
		slower.Interval = minInterval
		c.Definition = &slower
	}
	return nil
}

func (d *Definition) validate() error {
	targets := 0
	for _, set := range []bool{d.HTTP != "", d.TCP != "", d.UDP != "", d.GRPC != "", d.DNS != "", d.TTL != 0} {
		if set {
			targets++
		}
	}
	if field := d.negative(); field != "" {
		return invalid("Check."+field, "is negative")
	}
	switch {
	case targets > 1:
		return invalid("Check", "must have only one of HTTP, TCP, UDP, GRPC, DNS and TTL")
	case d.FailuresBeforeCritical > 0 && d.FailuresBeforeWarning > d.FailuresBeforeCritical:
		return invalid("Check.FailuresBeforeWarning", "must not be above FailuresBeforeCritical")
	case targets == 1 && d.TTL == 0 && d.Interval == 0:
		return invalid("Check.Interval", "is missing")
	}
	return d.validateTarget()
}

// negative returns the name of a field that is less than nothing, or "".
func (d *Definition) negative() string {
	for _, field := range []struct {
		name     string
		negative bool
	}{
		{"TTL", d.TTL < 0},
		{"Interval", d.Interval < 0},
		{"Timeout", d.Timeout < 0},
		{"DeregisterCriticalServiceAfter", d.DeregisterCriticalServiceAfter < 0},
		{"SuccessBeforePassing", d.SuccessBeforePassing < 0},
		{"FailuresBeforeWarning", d.FailuresBeforeWarning < 0},
		{"FailuresBeforeCritical", d.FailuresBeforeCritical < 0},
	} {
		if field.negative {
			return field.name
		}
	}
	return ""
}

func (d *Definition) validateTarget() error {
	switch d.Kind() {
	case "http":
		return validateURL("Check.HTTP", d.HTTP, "http", "https")
	case "tcp":
		return validateHostPort("Check.TCP", d.TCP)
	case "udp":
		return validateHostPort("Check.UDP", d.UDP)
	case "grpc":
		hostPort, _, _ := strings.Cut(d.GRPC, "/")
		return validateHostPort("Check.GRPC", hostPort)
	case "dns":
		return validateURL("Check.DNS", d.DNS, "dns")
	}
	return nil
}

func validateName(field, name string) error {
	if name == "" || len(name) > maxName {
		return invalid(field, "must be 1 to %d octets long, and not %d", maxName, len(name))
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return invalid(field, "%.80q must be labels of 1 to %d octets between its dots", name, maxLabel)
		}
		if at := strings.IndexFunc(label, notOf("-_")); at >= 0 {
			return invalid(field, "%.80q must consist of letters, digits, hyphens, underscores and dots", name)
		}
	}
	return nil
}

func validateID(id string) error {
	if id == "." || id == ".." || len(id) > maxID || strings.IndexFunc(id, notOf("._:@-")) >= 0 {
		return invalid("ID", "%.80q must be at most %d letters, digits and ._:@- and not a lone . or ..", id, maxID)
	}
	return nil
}

// validateCheckID takes more than validateID: clients of Consul make IDs of words, and of
// a namespace and a name with a slash between them.
func validateCheckID(field, id string) error {
	up := func(part string) bool { return part == "." || part == ".." }
	if len(id) > maxCheckID || !printable(id) || strings.ContainsAny(id, `\<>"`) || id != "" && id[0] == '/' || slices.ContainsFunc(strings.Split(id, "/"), up) {
		return invalid(field, `%.80q must be at most %d octets of text without \, <, > and ", and no path: it begins with no slash, and has no . or .. between slashes`, id, maxCheckID)
	}
	return nil
}

// notOf returns a predicate for what is neither an ASCII letter, nor a digit,
// nor one of others.
func notOf(others string) func(rune) bool {
	return func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(others, r))
	}
}

func validatePort(field string, port int) error {
	if port < 0 || port > 65535 {
		return invalid(field, "is %d, and must be 1 to 65535", port)
	}
	return nil
}

// canonicalAddress accepts an empty address, an IP address that a client can
// connect to, and a host name.
func canonicalAddress(field string, address *string) error {
	if *address == "" {
		return nil
	}
	if ip, err := netip.ParseAddr(*address); err == nil {
		ip = ip.Unmap()
		if ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || ip.Zone() != "" {
			return invalid(field, "%s is no address that a client could connect to", *address)
		}
		*address = ip.String()
		return nil
	}
	host := strings.TrimSuffix(*address, ".")
	if len(host) > maxHostName || !isHostName(host) {
		return invalid(field, "%.80q is neither an IP address nor a host name", *address)
	}
	return nil
}

// isHostName tells whether the text is a host name (RFC 1123, section 2.1), in which
// underscores are common, too. What ends in a number many programs take for an IPv4
// address: 127.1 and 0x7f.1 are loopback to them.
func isHostName(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > maxLabel || strings.IndexFunc(label, notOf("-_")) >= 0 || strings.Trim(label, "-") != label {
			return false
		}
	}
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	digits, hexadecimal := strings.CutPrefix(last, "0x")
	return strings.Trim(last, "0123456789") != "" && !(hexadecimal && strings.Trim(digits, "0123456789abcdef") == "")
}

func validateMeta(field string, meta map[string]string) error {
	size := 0
	for key, value := range meta {
		if key == "" || !printable(key) || !utf8.ValidString(value) {
			return invalid(field, "holds %.80q, whose key or value is not text", key)
		}
		size += len(key) + len(value)
	}
	if size > maxMeta {
		return invalid(field, "is %d octets of keys and values, and at most %d are kept", size, maxMeta)
	}
	return nil
}

func validateURL(field, text string, schemes ...string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return invalid(field, "%.120q is no URL with a host", text)
	}
	for _, scheme := range schemes {
		if u.Scheme == scheme {
			return nil
		}
	}
	return invalid(field, "%.120q must begin with %s://", text, strings.Join(schemes, ":// or "))
}

func validateHostPort(field, text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return invalid(field, "%.120q must have the form host:port", text)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return invalid(field, "%.120q must have a port from 1 to 65535", text)
	}
	return nil
}

// printable tells whether the text can be shown on one line as it is.
func printable(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, unicode.IsControl) < 0
}
