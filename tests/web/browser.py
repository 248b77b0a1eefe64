"""A real browser, Debian's Chromium, driven by selenium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

DESKTOP, PHONE = (1280, 900), (390, 844)


class Browser:
    """A window of Chromium; what its console says is kept."""

    def __init__(self, folder: Path) -> None:
        program, driver = shutil.which("chromium"), shutil.which("chromedriver")
        assert None not in (program, driver), "a browser is needed (apt-get install chromium chromium-driver)"
        options = Options()
        options.binary_location = program
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                         "--force-device-scale-factor=1", f"--user-data-dir={folder}"):  # fmt: skip
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    def show(self, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> None:
        """Set what the page is shown on."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < PHONE[0] + 1}
        self._command("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", features=[scheme])

    def _command(self, name: str, **parameters: Any) -> None:
        self.driver.execute_cdp_cmd(name, parameters)

    def open(self, address: str) -> None:
        self.driver.get(address)

    def ask(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page, and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """What its console has said since the last time."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def serious_findings(self) -> list[dict[str, Any]]:
        """What axe-core finds serious or worse in the page that is shown."""
        import axe_core_python

        self.ask((Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        found = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        assert found["passes"], "axe-core has looked at nothing"
        worst = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        return [{"id": one["id"], "where": [node["html"][:200] for node in one["nodes"]]} for one in worst]

    def wider_than_it(self) -> list[str]:
        """Elements that stick out of the window to the right, those that scroll by themselves excepted."""
        return self.ask("""
            const wide = document.documentElement.clientWidth;
            return [...document.querySelectorAll("main *, header *")]
              .filter((e) => e.getBoundingClientRect().right > wide + 1 && !e.closest(".table, pre, .unseen"))
              .map((e) => e.outerHTML.slice(0, 120))""")

    def close(self) -> None:
        self.driver.quit()
