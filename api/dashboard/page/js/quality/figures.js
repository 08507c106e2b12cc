// The scores as figures: over the window and over all labels.
import { byId, fill } from "../core/dom.js";
import { count, decimal, percent } from "../core/format.js";
import { one, quality } from "../overview/figures.js";

export function startQualityFigures() {
  quality.follow((found) => {
    const { window: near, overall: all } = found ?? {};
    fill(byId("quality-figures"),
      one("Accuracy, window", percent(near?.accuracy), near ? `of the last ${count(near.labels)} labels` : "no label has scored yet"),
      one("Accuracy, all", percent(all?.accuracy), all ? `of ${count(all.labels)} labels` : ""),
      one("Macro-F1, window", decimal(near?.macro_f1), all ? `all: ${decimal(all.macro_f1)}` : ""),
      one("Log loss, window", decimal(near?.log_loss), all ? `all: ${decimal(all.log_loss)}` : ""),
      one("Drift alarms", count(found?.alarms ?? null), found?.last_alarm ? `last by ${found.last_alarm.detector}` : ""));
  });
}
