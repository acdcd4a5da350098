package admin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/rollcall-dns/rollcall/registry"
)

// pageFiles is the page for people: a document, its style, and a module of script
// for each thing that it does. They hold nothing of what is registered; that they
// load from /v1, with the token that the reader gives them. Nothing is built, and
// nothing comes from elsewhere.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page load and run what comes from here, and nothing else.
// No text ever becomes markup, as the browser is told, too.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// page answers with one of the files. A browser asks each time whether it has
// changed, so that no two versions mix.
func (s *Server) page(w http.ResponseWriter, r *http.Request) error {
	file := r.PathValue("file")
	if file == "" {
		file = "index.html"
	}
	content, err := pageFiles.ReadFile("page/" + file)
	if err != nil {
		return registry.Errorf(registry.NotFound, "the page has no file %.80q", file)
	}
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	header := w.Header()
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", tag)
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header.Set("Content-Type", contentType(file))
	header.Set("Content-Length", fmt.Sprint(len(content)))
	_, _ = w.Write(content)
	return nil
}

// contentType does not ask the machine, whose table may say anything of .js.
func contentType(file string) string {
	switch path.Ext(file) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(file))
}
