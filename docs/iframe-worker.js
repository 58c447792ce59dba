// A page that is opened from a folder may not start a worker. There the search, which the theme
// runs in one, runs in a hidden frame of the page. (The theme's `offline` plugin would load such a
// script from elsewhere, but for one whose name has "iframe-worker" in it: see mkdocs.yml.)
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const script = document.createElement("script");
      script.src = url;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.title = "Search";
      frame.srcdoc = script.outerHTML;
      this.ready = new Promise((resolve, reject) => {
        frame.onload = () => {
          const inner = frame.contentWindow;
          // What the script in the frame posts comes out of this worker.
          inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          resolve(inner);
        };
        frame.onerror = reject;
      });
      document.body.append(frame);
    }

    postMessage(data) {
      this.ready.then((inner) => inner.dispatchEvent(new inner.MessageEvent("message", { data })));
    }
  };
}
