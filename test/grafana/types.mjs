// Checks the dashboards against the types that Grafana publishes of its dashboards and
// panels (npm package @grafana/schema): unknown or missing properties, wrong kinds and
// unknown names of modes are errors. Called by test/grafana/types with the folder that
// has that package and TypeScript.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const dir = path.resolve(process.argv[2]);
const folder = path.join(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '../../grafana/dashboards');
const ts = createRequire(path.join(dir, 'x.js'))('typescript');
const raw = path.join(dir, 'node_modules/@grafana/schema/dist/esm/raw');

// The published types of a kind of panel: of its options and of fieldConfig.defaults.custom.
function published(type) {
	const base = path.join(raw, 'composable', type, 'panelcfg/x');
	const file = path.join(base, fs.readdirSync(base).find((name) => name.endsWith('.d.ts')));
	const text = fs.readFileSync(file, 'utf8');
	const has = (name) => new RegExp(`export interface ${name} `).test(text) || new RegExp(`type ${name} `).test(text);
	return { file: file.replace(/\.d\.ts$/, ''), options: has('Options'), custom: has('FieldConfig') };
}

// JSON writes members of an enum as their values.
const lines = [
	'type Plain<T> = T extends string ? string extends T ? T : `${T}` : T extends (infer E)[] ? Plain<E>[] :',
	'  T extends object ? { [K in keyof T]: Plain<T[K]> } : T;',
	`import type { Dashboard, Panel, RowPanel } from '${raw}/dashboard/x/dashboard_types.gen';`,
	'type Whole = Omit<Plain<Dashboard>, "panels">;',
];
let checks = 0;
function check(json, type) {
	lines.push(`void (${JSON.stringify(json, null, 1)} satisfies ${type});`);
	checks++;
}

for (const name of fs.readdirSync(folder).sort()) {
	const { panels, ...dashboard } = JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'));
	lines.push(`// ${name}`);
	// What a data source puts into an annotation's target is its own.
	for (const annotation of dashboard.annotations.list) delete annotation.target;
	check(dashboard, 'Whole');
	for (const panel of panels) {
		lines.push(`// ${name}, panel ${panel.id}`);
		if (panel.type === 'row') {
			check(panel, 'Plain<RowPanel>');
			continue;
		}
		check(panel, 'Plain<Panel>');
		const { file, options, custom } = published(panel.type);
		if (options) check(panel.options, `Partial<Plain<import('${file}').Options>>`);
		if (custom) check(panel.fieldConfig.defaults.custom ?? {}, `Partial<Plain<import('${file}').FieldConfig>>`);
	}
}

const source = path.join(dir, 'dashboards.ts');
fs.writeFileSync(source, lines.join('\n'));
const program = ts.createProgram([source], {
	noEmit: true, strict: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022,
	module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
});
const errors = ts.getPreEmitDiagnostics(program);
for (const error of errors) {
	const above = error.file ? error.file.text.slice(0, error.start).split('\n') : [];
	console.log(above.findLast((line) => line.startsWith('// ')) ?? '', ts.flattenDiagnosticMessageText(error.messageText, '\n'));
}
console.log(`${checks} objects checked, ${errors.length} errors`);
process.exit(errors.length > 0 ? 1 : 0);
