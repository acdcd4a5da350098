package admin

import (
	"net/http"

	"github.com/hashicorp/go-bexpr"
)

// filter applies the request's filter expression to a list or a map.
func filter(r *http.Request, value any) (any, error) {
	expression := r.URL.Query().Get("filter")
	if expression == "" {
		return value, nil
	}
	f, err := bexpr.CreateFilter(expression)
	if err != nil {
		return nil, badRequest("the filter cannot be read: %v", err)
	}
	kept, err := f.Execute(value)
	if err != nil {
		return nil, badRequest("the filter does not fit: %v", err)
	}
	return kept, nil
}
