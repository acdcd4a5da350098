// Requests to the endpoint, with the token that the reader gave: it is kept in
// sessionStorage, for this tab alone, and sent in a header, never in a URL.

import { $ } from "./dom.js";

const KEY = "rollcall-token";

// Refused is an answer that says no; its message is the server's sentence.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// request sends a request, and asks for a token as often as that is refused.
export async function request(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const response = await fetch(path, { cache: "no-store", ...options, headers: { ...options.headers, ...(token ? { "X-Consul-Token": token } : {}) } });
    if (response.ok) return response;
    const text = (await response.text()).trim();
    if (response.status === 403 && text.startsWith("a token is needed")) {
      if (sessionStorage.getItem(KEY) === token) await askForToken(token !== null);
      continue;
    }
    throw new Refused(response.status, text || `the server said ${response.status}`);
  }
}

// hasToken tells whether one is shown, so that links, which show none, lead nowhere.
export const hasToken = () => sessionStorage.getItem(KEY) !== null;

export const get = async (path, options) => (await request(path, options)).json();
export const put = (path) => request(path, { method: "PUT" });

let asking = null; // one dialog for all that wait

function askForToken(wrong) {
  sessionStorage.removeItem(KEY);
  asking ??= new Promise((done) => {
    const dialog = $("token"), field = $("token-field");
    $("token-error").textContent = wrong ? "That token is not one of this server's." : "";
    field.value = "";
    dialog.oncancel = (e) => e.preventDefault(); // there is nothing to go back to
    dialog.onclose = () => {
      if (!field.value.trim()) return dialog.showModal();
      sessionStorage.setItem(KEY, field.value.trim());
      asking = null;
      done();
    };
    dialog.showModal();
  });
  return asking;
}
