package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// What Consul 1.15 answers to the same expressions over the same three instances.
func TestFiltersMeanWhatTheyMeanToConsul(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "ID": "w1", "Port": 1, "Address": "10.0.0.1", "Meta": {"k": "v", "q": "a \"b\" ` + "`" + `"},
		"Checks": [{"Name": "a", "TTL": "1h", "Status": "passing"}, {"Name": "b", "TTL": "1h", "Status": "critical"}]}`)
	e.put(`{"Name": "web", "ID": "w2", "Port": 2, "Address": "10.0.0.2", "Check": {"TTL": "1h", "Status": "passing"},
		"TaggedAddresses": {"pub": {"Address": "5.5.5.5", "Port": 1}}}`)
	e.put(`{"Name": "web", "ID": "w3", "Port": 3, "Address": "10.0.0.3", "Meta": {"e": ""}}`)
	for expression, want := range map[string]string{
		`Checks.Status == critical`:                           "w1",
		`Checks.Status != passing`:                            "w1",
		`not Checks.Status == critical`:                       "w2 w3",
		`Checks.Status matches "crit"`:                        "w1",
		`Checks.Name == a and Checks.Status == critical`:      "w1",
		`Checks.Output contains x`:                            "",
		`Checks is empty`:                                     "w3",
		`any Checks as c { c.Status == critical }`:            "w1",
		`Service.Meta.k == v`:                                 "w1",
		`Service.Meta.k != v`:                                 "w2 w3",
		`v not in Service.Meta.k`:                             "w2 w3",
		"Service.Meta.q == \"a \\x22b\\x22 `\"":               "w1",
		`Service["Meta"]["k"] == v or Service.ID == w3`:       "w1 w3",
		`k not in Service.Meta`:                               "w2 w3",
		`Service.TaggedAddresses.pub.Address == "5.5.5.5"`:    "w2",
		`Service.TaggedAddresses.pub.Address != "5.5.5.5"`:    "w1 w3",
		`Service.TaggedAddresses.pub.Port == 1`:               "w2",
		`pub in Service.TaggedAddresses`:                      "w2",
		`"0.3" in Service.Address and Service.Kind == ""`:     "w3",
		`Service.Port != 2 and not (Service.Tags contains x)`: "w1 w3",
	} {
		entries, _, err := e.consul.Health().Service("web", "", false, &api.QueryOptions{Filter: expression})
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		var ids []string
		for _, entry := range entries {
			ids = append(ids, entry.Service.ID)
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
	}
}

func TestFiltersChooseServicesOfTheCatalogAndOfANode(t *testing.T) {
	e := start(t, nil)
	e.put(`{"Name": "web", "ID": "w1", "Port": 1, "Tags": ["a"]}`)
	e.put(`{"Name": "web", "ID": "w2", "Port": 1, "Tags": ["b"], "Meta": {"k": "v"}}`)
	e.put(`{"Name": "db", "Port": 2}`)
	for _, row := range []struct{ path, filter, want string }{
		{"/v1/catalog/services", `ServiceName == web`, `{"web":["a","b"]}`},
		{"/v1/catalog/services", `ServiceMeta.k == v`, `{"web":["b"]}`},
		{"/v1/catalog/services", `ServiceName == nope`, `{}`},
		{"/v1/catalog/node/n1", `ID == w2`, `"w2":`},
		{"/v1/catalog/node-services/n1", `ID == w2`, `"ID":"w2"`},
	} {
		text := e.must(http.MethodGet, row.path+"?filter="+url.QueryEscape(row.filter), "")
		if !strings.Contains(text, row.want) || strings.Contains(text, `"w1"`) || strings.Contains(text, `"db"`) {
			t.Errorf("%s with %s: %s, want %s", row.path, row.filter, text, row.want)
		}
	}
}

func TestFiltersThatDoNotFitAreRefusedWhateverThereIs(t *testing.T) {
	e := start(t, nil)
	for _, path := range []string{"/v1/health/service/none", "/v1/catalog/services", "/v1/catalog/service/none", "/v1/catalog/nodes", "/v1/health/state/any",
		"/v1/health/checks/none", "/v1/health/node/none", "/v1/catalog/node/none", "/v1/catalog/node-services/none", "/v1/agent/services", "/v1/agent/checks"} {
		for _, expression := range []string{`Nothing == 1`, `(((`, `Node.Nothing.More == x`, `Checks.Nothing == x`, `Node matches "("`} {
			status, text, _ := e.do(http.MethodGet, path+"?index=1&filter="+url.QueryEscape(expression), "")
			if status != http.StatusBadRequest || !strings.HasPrefix(text, "the filter ") {
				t.Errorf("%s with %s: %d %s", path, expression, status, text)
			}
		}
	}
}
