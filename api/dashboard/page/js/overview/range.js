// The range of the charts over time, and the buckets that the API has for it.
import { Value } from "../core/value.js";

export const RANGES = {
  minutes: { name: "10 min", granularity: "minute", limit: 11, ms: 600_000 },
  hour: { name: "1 h", granularity: "minute", limit: 61, ms: 3_600_000 },
  days: { name: "2 days", granularity: "hour", limit: 49, ms: 48 * 3_600_000 },
  month: { name: "30 days", granularity: "day", limit: 31, ms: 30 * 86_400_000 },
};
export const WIDTHS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

export const range = new Value("minutes");

export const chosenRange = () => RANGES[range.get()];
