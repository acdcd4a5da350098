package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkRegistration is what a registration costs between net/http and the disk:
// the path of the request, its body, the audit line, and the registry in memory.
func BenchmarkRegistration(b *testing.B) {
	e := start(b, nil)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		body := fmt.Sprintf(`{"Name":"svc%d","ID":"svc-%d","Address":"10.0.0.7","Port":8000,"Check":{"TTL":"30s"}}`, n%1000, n%10_000)
		r := httptest.NewRequest(http.MethodPut, "http://127.0.0.1/v1/agent/service/register", strings.NewReader(body))
		w := httptest.NewRecorder()
		if e.server.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
	}
}
