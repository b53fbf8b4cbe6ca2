"use strict";
// Draws a figure when it comes near the window. The picture below it stays for print, and where drawing fails.
(() => {
  const draw = async (host) => {
    const spec = JSON.parse(document.getElementById(host.dataset.spec).textContent);
    await vegaEmbed(host, spec, {
      actions: false, // pictures and tables are links below the figure
      ast: true, // expressions are interpreted: the page's policy forbids eval
      renderer: "svg",
      mode: "vega-lite",
    });
    host.closest("figure").classList.add("drawn");
  };
  // The figure is watched and not the host, which has no place on the page before it is drawn.
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      const host = target.querySelector(".live");
      draw(host).catch((error) => {
        console.error(`figure ${host.dataset.spec} stays a picture:`, error);
      });
    }
  }, { rootMargin: "500px 0px" });
  for (const host of document.querySelectorAll(".live")) watcher.observe(host.closest("figure"));
})();
