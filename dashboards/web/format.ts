/** Numbers and times as people read them. */

/** "0.42", "12.3", "171": three significant digits at most; "–" where undefined. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  if (size >= 0.01) return value.toFixed(2);
  return value.toPrecision(2);
}

/** "52.1 %": a share of 1 as a percentage; "–" where undefined. */
export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? '–' : `${(share * 100).toFixed(1)} %`;
}

/** "45 s", "3 min", "2 h 05 min", "3 d 4 h". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** "just now", "3 min ago". */
export function age(time: string | null, now: number): string {
  if (time === null) return 'never';
  const seconds = (now - Date.parse(time)) / 1000;
  if (!Number.isFinite(seconds)) return 'at an unknown time';
  return seconds < 5 ? 'just now' : `${duration(seconds)} ago`;
}

/** "iteration 1, perceiver" from "iteration-1/perceiver"; other ids stay as they are. */
export function partName(id: string): string {
  const match = /^iteration-(\d+)[/-](.+)$/.exec(id);
  return match === null ? id : `iteration ${match[1]}, ${match[2]}`;
}

/** "P1" from "iteration-1-perceiver", "R2 step 5" from "iteration-2-reasoner-step-5": for axes; other names stay as they are. */
export function shortName(checkpoint: string): string {
  const match = /^iteration-(\d+)[/-](perceiver|reasoner|direct)(?:-step-(\d+))?$/.exec(checkpoint);
  if (match === null) return checkpoint;
  const [, iteration, role = '', step] = match;
  return `${role.charAt(0).toUpperCase()}${iteration}${step === undefined ? '' : ` step ${step}`}`;
}

/** "512 B", "1.5 MB", "65.0 GB". */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = count < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`;
}
