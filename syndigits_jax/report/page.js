for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, at) => {
    const number = head.classList.contains("n");
    const key = (row) => number ? parseFloat(row.cells[at].dataset.v) : row.cells[at].textContent;
    // Not a <button>: Chromium leaves these out where a printed table's head is repeated.
    const button = document.createElement("span");
    button.setAttribute("role", "button");
    button.tabIndex = 0;
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      button.click();
    });
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const next = now ? (now === "ascending" ? "descending" : "ascending") : number ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const order = (one, two) => {
        const a = key(one), b = key(two);
        if (!number) return sign * a.localeCompare(b, undefined, { numeric: true });
        // Missing numbers come last either way.
        return Number.isNaN(a) || Number.isNaN(b) ? Number.isNaN(a) - Number.isNaN(b) : sign * (a - b);
      };
      for (const body of table.tBodies) body.append(...[...body.rows].sort(order));
    });
  });
}
