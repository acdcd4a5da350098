package transfer

import "testing"

// FuzzKeys reads any file of keys.
func FuzzKeys(f *testing.F) {
	f.Add("key \"xfr\" { algorithm hmac-sha256; secret \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"; };\n")
	f.Add("key a { algorithm hmac-md5; };")
	f.Add("# nothing\n/* a */ key")
	f.Fuzz(func(t *testing.T, text string) {
		if keys, err := ParseKeys(text); err == nil && len(keys) == 0 && text != "" {
			t.Logf("no key in %q", text)
		}
	})
}
