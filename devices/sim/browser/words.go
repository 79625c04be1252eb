package browser

// words are what the browser says in other languages than English. Those for the
// switch, its screen, incognito and the news are the genuine app's; the others are
// ours. What has none stays English, as in an app whose translators fell behind.
var words = map[string]map[string]string{
	"fr": {
		"Help us improve Mi Browser":  "Aidez nous à améliorer Mi Browser",
		"Privacy & security":          "Vie privée et sécurité",
		"Incognito":                   "Mode Navigation privée",
		"Incognito mode is on":        "Mode Navigation privée activé",
		"Incognito on":                "Mode Navigation privée activé",
		"Incognito off":               "Mode Navigation privée désactivé",
		"Search engine":               "Moteur de recherche",
		"Settings":                    "Paramètres",
		"General":                     "Général",
		"Privacy":                     "Confidentialité",
		"Improvement":                 "Amélioration",
		"Data":                        "Données",
		"About":                       "À propos",
		"Enable cookies":              "Activer les cookies",
		"Do not track":                "Ne pas me suivre",
		"Ask sites not to track you":  "Demander aux sites de ne pas vous suivre",
		"Clear data":                  "Effacer les données",
		"Cookies of normal tabs":      "Cookies des onglets normaux",
		"Search or enter web address": "Rechercher ou saisir une adresse",
		"New tab":                     "Nouvel onglet",
		"Refresh":                     "Actualiser",
		"Exit":                        "Quitter",
		"Agree":                       "Accepter",
		"Welcome to Mi Browser":       "Bienvenue dans Mi Browser",
		"On":                          "Oui",
		"Off":                         "Non",
		"Turn on to share usage statistics with us when Incognito mode is on": "Activez pour partager vos statistiques d'utilisation en mode Navigation privée",
		"I have read and agree to the User Agreement and the Privacy Policy":  "J'ai lu et j'accepte les conditions d'utilisation et la politique de confidentialité",
	},
	"ru": {
		"Help us improve Mi Browser":  "Помогите нам улучшить Браузер",
		"Privacy & security":          "Конфиденциальность и безопасность",
		"Incognito":                   "Инкогнито",
		"Incognito mode is on":        "Режим инкогнито включён",
		"Incognito on":                "Инкогнито включено",
		"Incognito off":               "Инкогнито выключено",
		"Search engine":               "Поисковая система",
		"Settings":                    "Настройки",
		"General":                     "Общие",
		"Privacy":                     "Конфиденциальность",
		"Improvement":                 "Улучшение",
		"Data":                        "Данные",
		"About":                       "О браузере",
		"Enable cookies":              "Разрешить cookie",
		"Do not track":                "Не отслеживать",
		"Ask sites not to track you":  "Просить сайты не отслеживать вас",
		"Clear data":                  "Удалить данные",
		"Cookies of normal tabs":      "Cookie обычных вкладок",
		"Search or enter web address": "Запрос или адрес сайта",
		"New tab":                     "Новая вкладка",
		"Refresh":                     "Обновить",
		"Exit":                        "Выход",
		"Agree":                       "Принять",
		"Welcome to Mi Browser":       "Добро пожаловать в Mi Браузер",
		"On":                          "Вкл.",
		"Off":                         "Выкл.",
		"Turn on to share usage statistics with us when Incognito mode is on": "Включите, чтобы делиться статистикой использования в режиме инкогнито",
		"I have read and agree to the User Agreement and the Privacy Policy":  "Я принимаю условия соглашения и политику конфиденциальности",
	},
}

// say is a text of the app in the phone's language.
func (b *Browser) say(text string) string {
	if said, ok := words[b.cfg.Identity.Language][text]; ok {
		return said
	}
	return text
}
