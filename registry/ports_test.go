package registry

import "testing"

func TestPortsAreNamedOnceAndOneIsTheDefault(t *testing.T) {
	for name, row := range map[string]struct {
		port  int
		ports []Port
		want  string // what is wrong
	}{
		"two":              {0, []Port{{"http", 80, true}, {"metrics", 9090, false}}, ""},
		"with the port":    {80, []Port{{"http", 80, true}}, ""},
		"another port":     {81, []Port{{"http", 80, true}}, "Port is 81, and the default one of Ports is 80"},
		"no default":       {0, []Port{{"http", 80, false}}, "Ports.Default must be set for one of the ports"},
		"two defaults":     {0, []Port{{"http", 80, true}, {"grpc", 81, true}}, "Ports.Default is set for more than one port"},
		"a name twice":     {0, []Port{{"http", 80, true}, {"HTTP", 81, false}}, `Ports.Name "HTTP" is there twice`},
		"no name":          {0, []Port{{"", 80, true}}, "Ports.Name must be 1 to 200 octets long, and not 0"},
		"a name of labels": {0, []Port{{"a.b", 80, true}}, `Ports.Name "a.b" must be one label of a DNS name`},
		"no port":          {0, []Port{{"http", 0, true}}, "Ports.Port is 0, and must be 1 to 65535"},
	} {
		r := Registration{Instance: &Instance{Service: "web", Port: row.port, Ports: row.ports}}
		err := r.Validate()
		if got := ""; err != nil {
			if got = err.Error(); got != row.want {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if row.want != "" || r.Instance.Port != 80 {
			t.Errorf("%s: it is accepted, with the port %d", name, r.Instance.Port)
		}
	}
}
