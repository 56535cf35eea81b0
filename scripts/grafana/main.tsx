// The panels of src/palmar/assets/monitoring/grafana.json, drawn by Grafana's own React components over a Prometheus. What is
// not Grafana's here: the grid, the question to Prometheus, and the defaults of its two kinds of panels (stat and time series),
// which are in its server and in no package. draw.py builds this page and opens it.
import {
  type DataFrame, type Field, type FieldConfigSource, type TimeRange, FieldConfigOptionsRegistry, FieldType, ThemeContext,
  ThresholdsMode, applyFieldOverrides, applyNullInsertThreshold, createDataFrame, createTheme, dateTime,
  getDisplayValueAlignmentFactors, getFieldDisplayValues, renderLegendFormat,
} from "@grafana/data";
import { BigValue, GlobalStyles, PanelChrome, TimeSeries, VizRepeater } from "@grafana/ui";
import { defaultsDeep } from "lodash";
import { createRoot } from "react-dom/client";
import dashboard from "../../src/palmar/assets/monitoring/grafana.json";

const minutes = Number(new URLSearchParams(location.search).get("minutes"));
const SCRAPED = 15; // seconds: what Grafana takes for the interval of scrapes where a data source says nothing
const [GAP, ROW, COLUMNS] = [8, 30, 24];
const theme = createTheme({ colors: { mode: "dark" } });

const THRESHOLDS = { mode: ThresholdsMode.Absolute, steps: [{ value: -Infinity, color: "green" }, { value: 80, color: "red" }] };
const DEFAULTS: Record<string, { options: object; defaults: object }> = {
  stat: {
    options: {
      colorMode: "value", graphMode: "area", justifyMode: "auto", textMode: "auto", orientation: "auto",
      reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
    },
    defaults: { color: { mode: "thresholds" } },
  },
  timeseries: {
    options: { legend: { displayMode: "list", placement: "bottom", showLegend: true, calcs: [] } },
    defaults: {
      color: { mode: "palette-classic" },
      custom: {
        drawStyle: "line", lineInterpolation: "linear", lineWidth: 1, fillOpacity: 0, gradientMode: "none", spanNulls: false,
        showPoints: "auto", pointSize: 5, stacking: { mode: "none", group: "A" }, axisPlacement: "auto", axisGridShow: true,
        scaleDistribution: { type: "linear" }, thresholdsStyle: { mode: "off" }, hideFrom: { legend: false, viz: false },
      },
    },
  },
};

/** Which settings of a field are known: Grafana's own, and those of the panel that are given here or there. */
function settings({ defaults, overrides }: FieldConfigSource): FieldConfigOptionsRegistry {
  const own = ["unit", "min", "max", "decimals", "displayName", "noValue", "mappings", "thresholds", "color"];
  const ids = [
    ...own, ...Object.keys(defaults.custom ?? {}).map((key) => `custom.${key}`),
    ...overrides.flatMap((rule) => rule.properties.map((property) => property.id)),
  ];
  const items = [...new Set(ids)].map((id) => ({
    id, name: id, path: id.replace("custom.", ""), isCustom: id.startsWith("custom."), process: (value: unknown) => value,
    shouldApply: (field: Field) => field.type !== FieldType.time, editor: () => null, override: () => null,
  }));
  return new FieldConfigOptionsRegistry(() => items as never);
}

/** What Prometheus answers to one query of a panel, as Grafana's data source gives it to the panel. */
async function answered(target: any, { from, to }: TimeRange, width: number): Promise<DataFrame[]> {
  const [start, end] = [from.unix(), to.unix()];
  const step = Math.max(SCRAPED, Math.ceil((end - start) / width));
  const query = target.expr.replaceAll("$instance", ".*")
    .replaceAll("$__rate_interval", `${Math.max(step + SCRAPED, 4 * SCRAPED)}s`);
  const when = target.instant ? { time: end } : { start: start - (start % step), end: end - (end % step), step };
  const words = new URLSearchParams({ query, ...when } as never);
  const said = await (await fetch(`../api/v1/query${target.instant ? "" : "_range"}?${words}`)).json();
  if (said.status !== "success") throw new Error(`${query}: ${said.error}`);
  const rows: any[] = said.data.result;
  const number = (points: [number, string][]) => points.map(([, value]) => Number(value));
  const time = (points: [number, string][]) => points.map(([seconds]) => 1000 * seconds);
  if (target.format === "table" && rows.length) {
    const labels = [...new Set(rows.flatMap((row) => Object.keys(row.metric)))].sort();
    const values = rows.map((row) => row.value);
    return [createDataFrame({ refId: target.refId, fields: [
      { name: "Time", type: FieldType.time, values: time(values) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: rows.map((row) => row.metric[name] ?? "") })),
      { name: "Value", type: FieldType.number, values: number(values) },
    ] })];
  }
  return rows.map(({ metric, value, values = [value] }) => createDataFrame({ refId: target.refId, fields: [
    { name: "Time", type: FieldType.time, values: time(values), config: { interval: 1000 * step } },
    { name: "Value", type: FieldType.number, labels: metric, values: number(values),
      config: { displayNameFromDS: renderLegendFormat(target.legendFormat, metric) } },
  ] }));
}

function Inside({ panel, data, range, width, height }: any) {
  const options = defaultsDeep({}, panel.options, DEFAULTS[panel.type].options);
  const defaults = defaultsDeep({}, panel.fieldConfig.defaults, DEFAULTS[panel.type].defaults);
  const fieldConfig = { defaults: { thresholds: THRESHOLDS, ...defaults }, overrides: panel.fieldConfig.overrides };
  const usual = { fieldConfig, theme, timeZone: "browser", replaceVariables: (text: string) => text };
  const series = applyFieldOverrides({ ...usual, data, fieldConfigRegistry: settings(fieldConfig) });
  const size = { width, height };
  if (panel.type === "stat") {
    const { reduceOptions, textMode, colorMode, graphMode, justifyMode, orientation } = options;
    const values = () => getFieldDisplayValues({ ...usual, reduceOptions, data: series, sparkline: graphMode !== "none" });
    return <VizRepeater {...size} getValues={values} getAlignmentFactors={getDisplayValueAlignmentFactors} source={series}
      renderCounter={0} itemSpacing={3} autoGrid orientation={orientation} renderValue={({ value, ...place }: any) =>
        <BigValue {...{ ...place, textMode, colorMode, graphMode, justifyMode, theme }} value={value.display}
          sparkline={value.sparkline} />} />;
  }
  if (!series.length) {
    const { secondary: color } = theme.colors.text;
    return <div style={{ ...size, display: "grid", placeItems: "center", color }}>{defaults.noValue ?? "No data"}</div>;
  }
  // As Grafana's panel does before it draws: what was not scraped, and 0 / 0, are gaps.
  const ends = { refFieldPseudoMin: range.from.valueOf(), refFieldPseudoMax: range.to.valueOf() };
  const frames = series.map((frame) => applyNullInsertThreshold({ frame, ...ends })).map((frame) => ({ ...frame,
    fields: frame.fields.map((f) => ({ ...f, values: f.values.map((v) => (Number.isFinite(v) ? v : null)) })) }));
  return <TimeSeries {...size} frames={frames} timeRange={range} timeZone="browser" legend={options.legend} options={options} />;
}

async function main() {
  const to = dateTime();
  const from = dateTime(to).subtract(minutes, "minutes");
  const range: TimeRange = { from, to, raw: { from, to } };
  const column = (innerWidth - GAP) / COLUMNS;
  const panels = await Promise.all(dashboard.panels.map(async (panel: any) => {
    const { x, y, w, h } = panel.gridPos;
    const [width, height] = [w * column - GAP, h * (ROW + GAP) - GAP];
    const place = { position: "absolute", left: GAP + x * column, top: GAP + y * (ROW + GAP), width, height } as const;
    if (panel.type === "row") return <h4 key={panel.id} style={{ ...place, lineHeight: `${ROW}px` }}>{panel.title}</h4>;
    const data = (await Promise.all(panel.targets.map((target: any) => answered(target, range, width)))).flat();
    const words = { title: panel.title, description: panel.description, padding: panel.type === "stat" ? "none" : "md" } as const;
    return <div key={panel.id} style={place}><PanelChrome {...words} {...{ width, height }}>
      {(width, height) => <Inside {...{ panel, data, range, width, height }} />}</PanelChrome></div>;
  }));
  const rows = Math.max(...dashboard.panels.map((panel) => panel.gridPos.y + panel.gridPos.h));
  createRoot(document.body).render(<ThemeContext.Provider value={theme}><GlobalStyles />
    <div style={{ position: "relative", height: GAP + rows * (ROW + GAP) }}>{panels}</div></ThemeContext.Provider>);
}

main();
